"""Deploy a folder: look at it, send what the platform lacks, begin its build, and say what came of it.

The steps are functions, because whoever calls them shows what happens in between, or is interrupted there: `prepare`
asks nobody, `resolve` asks where it goes, `send` uploads, `begin` starts the build, `logs.follow` watches it, `finish`
reads the verdict. `remember` links the folder to the environment.

Source: platform API specification, section 6; command-line specification, section 4.6.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hud.context import Context, Problem, Recipe, digest, environment_name, find_recipe, preflight, scan
from hud.context.hashing import Progress
from hud.errors import HudError, NotFoundError
from hud.names import normalise
from hud.platform import builds, environments, identity, link, uploads
from hud.platform.client import Platform
from hud.platform.link import Link, LinkScope
from hud.platform.logs import wait
from hud.platform.projects import resolve_project
from hud.platform.records import BuildRequest, BuildStarted, BuildStatus
from hud.refusal import readable

__all__ = [
    "Deployment",
    "Options",
    "Plan",
    "Sent",
    "Target",
    "begin",
    "failure",
    "finish",
    "prepare",
    "remember",
    "resolve",
    "send",
]

_SUCCEEDED = "SUCCEEDED"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a folder would send.

    Attributes:
        name: The environment's, as its code declares it.
        problems: What should be known of it before it is sent; errors stop a deploy.
    """

    folder: Path
    recipe: Recipe
    name: str
    context: Context
    problems: list[Problem]

    @property
    def files(self) -> int:
        """How many files would travel."""
        return sum(entry.type == "file" for entry in self.context.entries)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.level == "error"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a build is to be done. Values are the user's and are shown nowhere."""

    environment_variables: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)
    build_secrets: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    runtime_provider: str | None = None
    runtime_config: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a deploy goes.

    Attributes:
        registry_id: An environment that was named for this one time; the folder's link stays as it is.
        linked_name: The name of the environment that the folder deployed to so far, when it is another one.
        was_named: Whether the project was named for this one time.
    """

    scope: LinkScope
    link: Link
    project_id: str | None = None
    registry_id: str | None = None
    linked_name: str | None = None
    was_named: bool = False

    @property
    def is_first(self) -> bool:
        """Whether the folder is linked to no environment yet."""
        return self.link.registry_id is None and self.registry_id is None


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A context that the platform has.

    Attributes:
        digest: Of the context; None where a whole archive was sent.
        build_id: What its build will be called.
        sent_bytes: How many bytes travelled.
    """

    digest: str | None
    build_id: str
    sent_bytes: int


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What came of a deploy."""

    name: str
    begun: BuildStarted
    status: BuildStatus
    plan: Plan
    sent: Sent

    @property
    def succeeded(self) -> bool:
        return self.status.status == _SUCCEEDED


def prepare(folder: Path, *, wanted: str | None = None) -> Plan:
    """Look at a folder; nothing is imported, run or sent.

    Args:
        folder: An environment's folder, or its env.py: the file then supplies the name, its folder the context.
        wanted: The declared name to take, where there are several.

    Raises:
        NotFoundError: there is no such folder, no Dockerfile in it, or no environment is declared.
        UsageError: several environments are declared and none is wanted, or a file cannot travel.
    """
    root = folder.parent if folder.is_file() else folder
    if not root.is_dir():
        raise NotFoundError(f"no such folder: {folder}")
    recipe = find_recipe(root)
    source = folder if folder.is_file() else None
    name = environment_name(root, recipe, wanted=wanted, source=source)
    return Plan(folder=root, recipe=recipe, name=name, context=scan(root, recipe), problems=preflight(root, recipe))


def resolve(platform: Platform, plan: Plan, *, project: str | None = None, registry_id: str | None = None) -> Target:
    """Find out where a deploy goes.

    Raises:
        HudError: the folder is linked to another platform, user or team.
        NotFoundError: the project or the environment that was named is not there.
    """
    scope = identity.scope(platform, identity.me(platform))
    linked = link.read(plan.folder).within(scope)
    if registry_id is not None:
        named = None if project is None else resolve_project(platform, project, linked, platform.settings)
        return Target(
            scope=scope,
            link=linked,
            project_id=None if named is None else named.id,
            registry_id=environments.find(platform, registry_id).id,
        )
    chosen = resolve_project(platform, project, linked, platform.settings)
    return Target(
        scope=scope,
        link=linked,
        project_id=None if chosen is None else chosen.id,
        linked_name=_other_name(platform, plan, linked),
        was_named=project is not None,
    )


def send(platform: Platform, plan: Plan, *, hashing: Progress | None = None, sending: Progress | None = None) -> Sent:
    """Make sure that the platform has the context.

    Raises:
        HudError: a file changed meanwhile, or the connection broke again and again.
    """
    if "contexts" in platform.extensions:
        manifest = digest(plan.context, hashing)
        sent_bytes = uploads.send_chunks(platform, plan.context, manifest, sending)
        return Sent(digest=manifest.digest, build_id=str(uuid.uuid4()), sent_bytes=sent_bytes)
    ticket, sent_bytes = uploads.send_archive(platform, plan.context, packing=hashing, sending=sending)
    return Sent(digest=None, build_id=ticket.build_id, sent_bytes=sent_bytes)


def begin(platform: Platform, plan: Plan, target: Target, sent: Sent, options: Options) -> BuildStarted:
    """Begin the build; sent again, the same one.

    Raises:
        HudError: the platform refuses it; nothing was begun.
    """
    request = BuildRequest(
        build_id=sent.build_id,
        name=plan.name,
        no_cache=options.no_cache,
        registry_id=target.registry_id,
        project_id=target.project_id,
        runtime_provider=options.runtime_provider,
        runtime_config=options.runtime_config,
        environment_variables=dict(options.environment_variables),
        build_args=dict(options.build_args),
        build_secrets=dict(options.build_secrets),
        source_revision=source_revision(plan.folder) if sent.digest is not None else None,
    )
    if sent.digest is None:
        return builds.trigger(platform, request)
    return builds.start(platform, request, context_digest=sent.digest)


def remember(plan: Plan, target: Target, begun: BuildStarted) -> None:
    """Link the folder to the environment that its build is for; not when it or its project was named for this one time.

    Raises:
        HudError: the link cannot be written; the build goes on.
    """
    if target.registry_id is None and not target.was_named:
        link.save(plan.folder, target.scope, registry_id=begun.registry_id)


def finish(platform: Platform, plan: Plan, sent: Sent, begun: BuildStarted) -> Deployment:
    """Give what came of a build whose log has ended."""
    return Deployment(name=plan.name, begun=begun, status=wait(platform, begun.id), plan=plan, sent=sent)


def failure(deployment: Deployment) -> HudError:
    """Give the error that a build which did not succeed is."""
    status, build_id = deployment.status, deployment.begun.id
    words = {"FAILED": "is not deployed", "STOPPED": "was cancelled", "TIMED_OUT": "took too long"}
    how = words.get(status.status, f"ended as {status.status}")
    reason = f": {readable(status.error_message)}" if status.error_message else ""
    return HudError(f"{deployment.name} {how}{reason}", hint=f"hud build logs {build_id}")


def source_revision(folder: Path) -> str | None:
    """Give the commit that a folder's files are of, with `-dirty` where they differ from it; None outside git."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return f"{head}-dirty" if _git(folder, "status", "--porcelain", "--", ".") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=20
    )
    return done.stdout.decode(errors="replace").strip()


def _other_name(platform: Platform, plan: Plan, linked: Link) -> str | None:
    """Give the name of the environment that the folder is linked to, when the code declares another one by now."""
    if linked.registry_id is None:
        return None
    try:
        record = environments.find(platform, linked.registry_id)
    except NotFoundError:  # it was deleted, or the key may not see it: the name decides
        return None
    return None if record.name == normalise(plan.name) else record.name
