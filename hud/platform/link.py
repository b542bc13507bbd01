"""The link between a folder and what it deployed: `.hud/config.json`, with the ids and whose they are.

Ids of one platform, user or team are never used with a key of another: a deploy into somebody else's team is worse than
one that stops. Older files have other spellings and say nothing of whose they are; both are read.

Source: platform API specification, section 4; CLI specification, section 2.3.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hud import files
from hud.errors import HudError
from hud.names import dashed

__all__ = ["Link", "LinkScope", "read", "save"]

Name = Literal["registry_id", "taskset_id", "project_id"]

FILE = Path(".hud", "config.json")

_LEGACY_FILE = Path(".hud", "deploy.json")
_OLDER_SPELLINGS: dict[Name, str] = {"registry_id": "registryId", "taskset_id": "tasksetId", "project_id": "projectId"}
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LinkScope:
    """Whose ids a link holds; they outlive the key that was used (PA-08)."""

    origin: str
    user_id: str
    team_id: str

    def __str__(self) -> str:
        return f"{self.origin} (user {self.user_id}, team {self.team_id})"


@dataclass(frozen=True, kw_only=True)
class Link:
    """What a folder is linked to; ids have dashes. `scope` is None in older files, which do not say whose they are."""

    folder: Path
    scope: LinkScope | None = None
    registry_id: str | None = None
    taskset_id: str | None = None
    project_id: str | None = None

    @property
    def path(self) -> Path:
        return self.folder / FILE

    @property
    def is_empty(self) -> bool:
        return self.registry_id is self.taskset_id is self.project_id is None

    def within(self, scope: LinkScope) -> Link:
        """Give the link itself, for a key of this scope.

        Raises:
            HudError: its ids belong to another platform, user or team.
        """
        if self.scope is None or self.scope == scope or self.is_empty:
            return self
        theirs, ours = str(self.scope), str(scope)
        if self.scope.origin != scope.origin:
            theirs, ours = self.scope.origin, scope.origin
        raise HudError(
            f"{self.path} links to {theirs}, and the key is of {ours}",
            hint=f"use that platform's key, or unlink the folder: rm {self.path}",
        )


def read(folder: Path) -> Link:
    """Give what a folder is linked to; a folder without a file is linked to nothing.

    Raises:
        HudError: the file cannot be read, or holds what a link cannot.
    """
    path = folder / FILE
    if not path.exists() and (folder / _LEGACY_FILE).exists():
        path = folder / _LEGACY_FILE
    return _link(folder, path, _document(path))


def save(
    folder: Path,
    scope: LinkScope,
    *,
    registry_id: str | None = None,
    taskset_id: str | None = None,
    project_id: str | None = None,
) -> Link:
    """Keep ids in a folder's link, whole or not at all; ids that are not given and unknown keys stay.

    Raises:
        HudError: the link holds ids of another scope, or the file cannot be read or written.
    """
    given: dict[Name, str | None] = {"registry_id": registry_id, "taskset_id": taskset_id, "project_id": project_id}
    path = folder / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HudError(f"cannot make {path.parent}: {error.strerror}") from error
    with files.locked(path.parent):  # a deploy and a sync may end at the same moment
        link = read(folder).within(scope)
        document = _document(path)
        new: dict[str, Any] = {
            "version": document.get("version", _VERSION),
            "scope": {"origin": scope.origin, "user_id": scope.user_id, "team_id": scope.team_id},
        }
        for name, older in _OLDER_SPELLINGS.items():
            identifier = given[name]
            new[name] = getattr(link, name) if identifier is None else _identifier(path, name, identifier)
            if older in document:  # an older release reads this one
                new[older] = new[name]
        content = json.dumps({**document, **new}, indent=2, allow_nan=False) + "\n"
        files.replace(path, content.encode())
        return _link(folder, path, new)


def _document(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HudError(f"cannot read {path}: {error.strerror}") from error
    try:
        document = json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise HudError(f"{path} is no JSON: {error}", hint=f"mend it, or unlink the folder: rm {path}") from error
    if not isinstance(document, dict):
        raise HudError(f"{path} holds no object", hint=f"unlink the folder: rm {path}")
    return document


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


def _link(folder: Path, path: Path, document: dict[str, Any]) -> Link:
    ids = {
        name: _identifier(path, name, value)
        for name, older in _OLDER_SPELLINGS.items()
        if (value := document.get(name) or document.get(older))
    }
    return Link(folder=folder, scope=_scope(path, document.get("scope")), **ids)


def _identifier(path: Path, name: str, value: object) -> str:
    if isinstance(value, str) and (identifier := dashed(value)) is not None:
        return identifier
    raise HudError(f"{path}: {name} is no id: {value!r}", hint=f"mend it, or unlink the folder: rm {path}")


def _scope(path: Path, value: object) -> LinkScope | None:
    if value is None:
        return None
    names = ("origin", "user_id", "team_id")
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in names):
        raise HudError(f"{path}: scope is none: {value!r}", hint=f"unlink the folder: rm {path}")
    return LinkScope(
        origin=value["origin"],
        user_id=_identifier(path, "scope.user_id", value["user_id"]),
        team_id=_identifier(path, "scope.team_id", value["team_id"]),
    )
