"""One `hud deploy`: the steps of a deployment, shown, and interrupted in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hud.context import Problem
from hud.errors import HudError, UsageError
from hud.platform import builds, deployment, logs
from hud.platform.client import Platform
from hud.platform.deployment import Deployment, Options, Plan, Target
from hud.platform.records import BuildStarted
from hud_cli import deploy_options, output
from hud_cli.build_view import BuildView
from hud_cli.transfer import Transfer

__all__ = ["Run"]

_MOST_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the command line asked for, whichever folder it is done to."""

    options: Options
    variables: list[str]
    env_file: Path | None
    no_env: bool
    project: str | None
    registry_id: str | None
    yes: bool
    verbose: bool
    as_json: bool

    def dry(self, folder: Path, name: str | None) -> dict[str, Any]:
        """Show what would be sent."""
        plan = deployment.prepare(folder, wanted=name)
        _show_problems(plan)
        variables = deploy_options.pairs("--env", self.variables)
        names = sorted({*variables, *(self._file_names())})
        document = {
            "name": plan.name,
            "folder": str(plan.folder),
            "recipe": plan.recipe.dockerfile,
            "dry_run": True,
            "files": [
                {"path": entry.path, "size_bytes": entry.size} for entry in plan.context.entries if entry.type == "file"
            ],
            "size_bytes": plan.context.size_bytes,
            "left_out": plan.context.left_out,
            "secrets_left_out": plan.context.secrets_left_out,
            "environment_variables": names,
            "build_args": sorted(self.options.build_args),
            "build_secrets": sorted(self.options.build_secrets),
            "problems": [_plain(problem) for problem in plan.problems],
        }
        if not self.as_json:
            _show_plan(plan, names)
        _refuse(plan)
        return document

    def deploy(self, folder: Path, name: str | None) -> dict[str, Any]:
        """Deploy a folder and give what came of it.

        Raises:
            HudError: it is not registered; the message says why.
        """
        plan = deployment.prepare(folder, wanted=name)
        _show_problems(plan)
        _refuse(plan)
        with Platform.connect(notice=output.note) as platform:
            target = deployment.resolve(platform, plan, project=self.project, registry_id=self.registry_id)
            self._confirm_new_name(plan, target)
            options = replace(self.options, environment_variables=self._variables(plan, target))
            with Transfer(plan.name) as transfer:
                sent = deployment.send(platform, plan, hashing=transfer.hashing, sending=transfer.sending)
            begun = deployment.begin(platform, plan, target, sent, options)
            output.note(f"{_amount(sent.sent_bytes)} sent; build {begun.id} of {plan.name} is begun")
            self._follow(platform, begun)
            ended = deployment.finish(platform, plan, sent, begun)
            if not ended.succeeded:
                raise deployment.failure(ended)
            document = _document(ended, address=f"{platform.settings.web_url}/environments/{begun.registry_id}")
        if not self.as_json:
            _show_summary(document)
        return document

    def _file_names(self) -> list[str]:
        from hud.context import read_env_file

        return [] if self.env_file is None else list(read_env_file(self.env_file))

    def _variables(self, plan: Plan, target: Target) -> dict[str, str]:
        return deploy_options.variables(
            plan.folder,
            given=self.variables,
            file=self.env_file,
            no_file=self.no_env,
            is_first=target.is_first,
            as_json=self.as_json,
        )

    def _confirm_new_name(self, plan: Plan, target: Target) -> None:
        """Ask before a folder that deployed to one environment makes another, whose name may be a slip."""
        if target.linked_name is None or self.yes:
            return
        message = f"this folder deployed to {target.linked_name!r} so far, and its code declares {plan.name!r} now"
        if self.as_json or not output.is_interactive():
            raise UsageError(
                message, hint=f"--yes makes {plan.name}; --registry-id {target.link.registry_id} keeps the old one"
            )
        try:
            agreed = output.ask(f"{message[:1].upper()}{message[1:]}. Deploy to {plan.name!r}? [y/N] ")
        except EOFError:
            agreed = ""
        if agreed.strip().lower() not in ("y", "yes"):
            raise HudError("nothing was deployed", hint=f"--registry-id {target.link.registry_id} keeps the old one")

    def _follow(self, platform: Platform, begun: BuildStarted) -> None:
        """Show the build's log to its end; interrupted, settle with the user what becomes of the build."""
        try:
            with BuildView(verbose=self.verbose) as view:
                for frame in logs.follow(platform, begun.id, notice=output.note):
                    view.show(frame)
        except KeyboardInterrupt:
            settle_interrupted(platform, begun.id, can_ask=not self.as_json)
            raise
        except SystemExit:  # SIGTERM
            settle_interrupted(platform, begun.id, can_ask=False)
            raise


def settle_interrupted(platform: Platform, build_id: str, *, can_ask: bool) -> None:
    """Offer to cancel a build whose watcher was interrupted; where nobody can be asked, cancel it."""
    wanted = "yes"
    if can_ask and output.is_interactive():
        try:
            wanted = output.ask("\nCancel the build? [y/N] ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            wanted = "no"
    if wanted not in ("y", "yes"):
        output.note(f"The build goes on. To watch it: hud build logs {build_id}")
        return
    try:
        stopped = builds.cancel(platform, build_id)
    except HudError as error:
        output.note(f"The build goes on: {error}. To watch it: hud build logs {build_id}")
        return
    output.note("The build is cancelled." if stopped else "The build had ended.")


def _show_problems(plan: Plan) -> None:
    for problem in plan.problems:
        colour = "red" if problem.level == "error" else "yellow"
        output.note(f"{output.painted(f'{problem.level.capitalize()}:', colour)} {problem.message}")
        if problem.hint:
            output.note(f"  {problem.hint}")
    if left_out := plan.context.secrets_left_out:
        more = f" and {len(left_out) - _MOST_SHOWN} more" if len(left_out) > _MOST_SHOWN else ""
        output.note(f"Left out because it holds credentials: {', '.join(left_out[:_MOST_SHOWN])}{more}")


def _refuse(plan: Plan) -> None:
    if errors := plan.errors:
        raise HudError(errors[0].message, hint=errors[0].hint)


def _plain(problem: Problem) -> dict[str, Any]:
    return {"level": problem.level, "message": problem.message, "hint": problem.hint}


def _show_plan(plan: Plan, variables: list[str]) -> None:
    for entry in plan.context.entries:
        if entry.type == "file":
            output.data(f"{entry.size:>12,}  {entry.path}\n")
    output.note(f"{plan.name}: {plan.files:,} files, {_amount(plan.context.size_bytes)}, {plan.recipe.dockerfile}")
    if plan.context.left_out:
        output.note(f"Left out: {', '.join(plan.context.left_out[:_MOST_SHOWN])}")
    if variables:
        output.note(f"Variables: {', '.join(variables)}")


def _document(ended: Deployment, *, address: str) -> dict[str, Any]:
    status, plan, sent = ended.status, ended.plan, ended.sent
    manifest = status.manifest
    return {
        "name": ended.name,
        "registry_id": ended.begun.registry_id,
        "build_id": ended.begun.id,
        "status": status.status,
        "version": status.version,
        "uri": status.uri,
        "digest": status.digest,
        "size_bytes": status.size_bytes,
        "duration_seconds": status.duration_seconds,
        "tasks": [task.id for task in manifest.tasks] if manifest else [],
        "capabilities": [capability.name for capability in manifest.capabilities] if manifest else [],
        "url": address,
        "context": {
            "digest": sent.digest,
            "files": plan.files,
            "size_bytes": plan.context.size_bytes,
            "sent_bytes": sent.sent_bytes,
        },
    }


def _show_summary(document: dict[str, Any]) -> None:
    size = document["size_bytes"]
    rows = [
        ("environment", f"{document['name']}, version {document['version']}"),
        ("image", document["uri"]),
        ("digest", document["digest"]),
        ("size", _amount(size) if size is not None else None),
        ("tasks", ", ".join(document["tasks"])),
        ("address", document["url"]),
    ]
    output.data("".join(f"{name:<12} {value}\n" for name, value in rows if value))


def _amount(size_bytes: int) -> str:
    value, units = float(size_bytes), ["bytes", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "bytes" else f"{value:.1f} {units[0]}"
