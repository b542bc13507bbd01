"""Which environment of a platform a folder belongs to.

Source: platform API specification, section 5; command-line specification, section 4.8.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hud.errors import NotFoundError, UsageError
from hud.names import dashed, normalise
from hud.platform import identity, link
from hud.platform.client import PAGE_ROWS, Platform
from hud.platform.link import Link
from hud.platform.records import EnvironmentRecord, Page

__all__ = ["candidates", "find", "keep"]


def candidates(platform: Platform) -> Iterator[EnvironmentRecord]:
    """Give the environments that somebody may choose from, newest first."""
    return platform.rows("/registry", into=EnvironmentRecord, params={"sort_by": "date"})


def find(platform: Platform, reference: str) -> EnvironmentRecord:
    """Give the environment of this id, or of this name in any of its spellings.

    Raises:
        NotFoundError: there is none.
        UsageError: several have this name, or it is no name at all.
    """
    if identifier := dashed(reference):
        try:
            return platform.call("GET", f"/registry/{identifier}", into=EnvironmentRecord)
        except NotFoundError:
            raise NotFoundError(f"there is no environment {identifier}", hint="hud env list") from None
    name = normalise(reference)
    if not name:
        raise UsageError(f"{reference!r} is no name of an environment", hint="hud env list")
    page = platform.call("GET", "/registry", into=Page, params={"search": name, "limit": PAGE_ROWS})
    rows = [platform.record(row, into=EnvironmentRecord, path="/registry") for row in page.items]
    matches = [row for row in rows if row.name == name]  # the platform looks for a part of a name
    if not matches:
        near = [row.name for row in rows][:5]
        hint = f"did you mean {', '.join(near)}?" if near else "hud deploy registers it"
        raise NotFoundError(f"there is no environment {name!r}", hint=hint)
    if len(matches) > 1:
        ids = ", ".join(row.id for row in matches)
        raise UsageError(f"several environments are named {name!r}", hint=f"name one by its id: {ids}")
    return matches[0]


def keep(platform: Platform, folder: Path, environment: EnvironmentRecord) -> Link:
    """Link a folder to an environment.

    Raises:
        HudError: the folder is linked to another platform, user or team.
    """
    scope = identity.scope(platform, identity.me(platform))
    return link.save(folder, scope, registry_id=environment.id)
