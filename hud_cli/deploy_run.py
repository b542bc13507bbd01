"""One `hud deploy`: the steps of a deployment, done in order, and what is asked in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hud.errors import HudError, UsageError
from hud.platform import builds, deployment, link, logs
from hud.platform.client import Platform
from hud.platform.deployment import Options, Plan, Target
from hud.platform.records import BuildStarted
from hud_cli import deploy_options, deploy_report, output
from hud_cli.build_view import BuildView
from hud_cli.transfer import Transfer

__all__ = ["Run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the command line asked for, whichever folder it is done to."""

    options: Options
    variables: dict[str, str]
    file_variables: dict[str, str] | None
    no_env: bool
    project: str | None
    registry_id: str | None
    yes: bool
    verbose: bool
    as_json: bool

    def dry(self, folder: Path, name: str | None) -> dict[str, Any]:
        """Give what would be sent; nothing is asked of the platform."""
        plan = deployment.prepare(folder, wanted=name)
        deploy_report.show_problems(plan)
        document = deploy_report.plan_document(
            plan,
            variables=sorted({**(self.file_variables or {}), **self.variables}),
            options=self.options,
        )
        if not self.as_json:
            deploy_report.show_plan(plan, document)
            self._tell_of_question(plan)
        _refuse(plan)
        return document

    def deploy(self, folder: Path, name: str | None) -> dict[str, Any]:
        """Deploy a folder and give what came of it.

        Raises:
            HudError: it is not registered; the message says why.
        """
        plan = deployment.prepare(folder, wanted=name)
        deploy_report.show_problems(plan)
        _refuse(plan)
        with Platform.connect(notice=output.note) as platform:
            target = deployment.resolve(platform, plan, project=self.project, registry_id=self.registry_id)
            self._confirm_new_name(plan, target)
            options = replace(self.options, environment_variables=self._variables(plan, target))
            with Transfer(plan.name) as transfer:
                sent = deployment.send(platform, plan, hashing=transfer.hashing, sending=transfer.sending)
            try:
                begun = deployment.begin(platform, plan, target, sent, options)
            except (KeyboardInterrupt, SystemExit):  # its reply did not come, which says nothing of the request
                output.note(f"The build may have begun. To see whether: hud build logs {sent.build_id}")
                raise
            output.note(f"{output.amount(sent.sent_bytes)} sent; build {begun.id} of {plan.name} is begun")
            _remember(plan, target, begun)
            self._follow(platform, begun)
            ended = deployment.finish(platform, plan, sent, begun)
            if not ended.succeeded:
                raise deployment.failure(ended)
            # This project's own platform has no page of an environment to lead to.
            has_pages = "environments" not in platform.extensions
            return deploy_report.document(ended, web_url=platform.settings.web_url if has_pages else None)

    def _tell_of_question(self, plan: Plan) -> None:
        is_first = self.registry_id is None and link.read(plan.folder).registry_id is None
        if not is_first or self.no_env or self.file_variables is not None:
            return
        if own := deploy_options.own_variables(plan.folder):
            output.note(f"A deploy would ask whether to send {', '.join(own)} of {plan.folder / '.env'}.")

    def _variables(self, plan: Plan, target: Target) -> dict[str, str]:
        found = self.file_variables
        if found is None and target.is_first and not self.no_env:
            found = deploy_options.agreed_variables(plan.folder, as_json=self.as_json)
        return {**(found or {}), **self.variables}

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
            logs.wait(platform, begun.id)
        except KeyboardInterrupt:
            settle_interrupted(platform, begun.id, can_ask=not self.as_json)
            raise
        except SystemExit:  # SIGTERM
            settle_interrupted(platform, begun.id, can_ask=False)
            raise


def settle_interrupted(platform: Platform, build_id: str, *, can_ask: bool) -> None:
    """Offer to cancel a build whose watcher was interrupted; where nobody can be asked, cancel it."""
    again = f"The build goes on. To watch it: hud build logs {build_id}"
    if "builds" not in platform.extensions:
        output.note(again)
        return
    wanted = "yes"
    if can_ask and output.is_interactive():
        try:
            wanted = output.ask("\nCancel the build? [y/N] ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            wanted = "no"
    if wanted not in ("y", "yes"):
        output.note(again)
        return
    try:
        stopped = builds.cancel(platform, build_id)
    except HudError as error:
        output.note(f"The build is not cancelled: {error}\n{again}")
        return
    output.note("The build is cancelled." if stopped else "The build had ended.")


def _remember(plan: Plan, target: Target, begun: BuildStarted) -> None:
    try:
        deployment.remember(plan, target, begun)
    except HudError as error:  # a folder that cannot be written is no reason to leave the build alone
        output.note(f"{output.painted('Warning:', 'yellow')} the folder is not linked to its environment: {error}")


def _refuse(plan: Plan) -> None:
    if errors := plan.errors:
        raise HudError(errors[0].message, hint=errors[0].hint)
