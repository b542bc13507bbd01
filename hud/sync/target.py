"""Which taskset a sync is with: the one that is named, or the one that the folder is linked to.

Source: command-line specification, sections 2.3 and 4.8; platform API specification, sections 4 and 7.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hud.errors import NotFoundError, UsageError
from hud.names import dashed
from hud.platform import identity, link, projects, tasksets
from hud.platform.client import Platform
from hud.platform.link import Link, LinkScope
from hud.platform.records import TasksetRecord

__all__ = ["Target", "existing", "keep", "resolve"]

_HINT = "hud sync tasks NAME"
_SOURCES = (".py", ".json", ".jsonl", ".csv")


@dataclass(frozen=True, kw_only=True)
class Target:
    """The taskset of a sync.

    Attributes:
        taskset: The one that is there, or the name of the one to make.
        project_id: Where it is made, or the project that was asked for; None leaves it to the platform.
        stored: The link of the folder.
        scope: Whose ids the platform's are.
    """

    taskset: TasksetRecord | str
    project_id: str | None
    stored: Link
    scope: LinkScope


def resolve(platform: Platform, reference: str | None, *, folder: Path, project: str | None = None) -> Target:
    """Find the taskset to sync with. One that is not there is made only when it is named.

    Args:
        reference: Its name or id; None for the one that the folder is linked to.
        project: A name or an id, for this one time.

    Raises:
        UsageError: none is named, and the folder is linked to none.
        NotFoundError: there is none of that id, or no such project.
        HudError: the folder is linked to another platform, user or team.
    """
    scope = identity.scope(platform, identity.me(platform))
    stored = link.read(folder).within(scope)
    found = _found(platform, reference, stored)
    project_id = None
    if found is None or project is not None:  # a taskset that is there stays in its project
        selected = projects.resolve_project(platform, project, stored, platform.settings)
        project_id = selected.id if selected is not None else None
    if found is None:
        assert reference is not None
        return Target(taskset=reference, project_id=project_id, stored=stored, scope=scope)
    return Target(taskset=found, project_id=project_id, stored=stored, scope=scope)


def existing(platform: Platform, reference: str | None, *, folder: Path) -> TasksetRecord:
    """Give the taskset of this name or id, or the one that the folder is linked to.

    Raises:
        NotFoundError: there is none.
        UsageError: none is named, and the folder is linked to none.
    """
    taskset = resolve(platform, reference, folder=folder).taskset
    if isinstance(taskset, str):
        raise NotFoundError(f"there is no taskset {taskset!r}", hint="hud sync list")
    return taskset


def keep(target: Target, taskset_id: str, *, replace: bool) -> bool:
    """Link the folder to the taskset, when it is linked to none or the link is to be replaced; say whether it was."""
    linked = target.stored.taskset_id
    if linked == taskset_id or (linked is not None and not replace):
        return False
    link.save(target.stored.folder, target.scope, taskset_id=taskset_id)
    return True


def _found(platform: Platform, reference: str | None, stored: Link) -> TasksetRecord | None:
    if reference is None:
        if stored.taskset_id is None:
            raise UsageError("no taskset is named, and this folder is linked to none", hint=_HINT)
        found = tasksets.find(platform, stored.taskset_id)
        if found is None:
            raise NotFoundError(
                f"the taskset {stored.taskset_id} that {stored.path} links to is not there", hint=f"{_HINT} --link"
            )
        return found
    if not reference.strip() or reference in (".", ".."):
        raise UsageError(f"{reference!r} is no name of a taskset", hint=_HINT)
    if reference.endswith(_SOURCES) and Path(reference).exists():
        raise UsageError(f"{reference} is a file, and the taskset's name comes first", hint=f"{_HINT} {reference}")
    found = tasksets.find(platform, reference)
    if found is None and dashed(reference):
        raise NotFoundError(f"there is no taskset {reference}", hint="hud sync list")
    return found
