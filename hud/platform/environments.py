"""Environments on a platform, and their versions.

Source: platform API specification, section 5; versions are an extension.
"""

from __future__ import annotations

from collections.abc import Iterator

from hud.errors import NotFoundError, UsageError
from hud.names import dashed, normalise
from hud.platform.client import PAGE_ROWS, Platform
from hud.platform.records import EnvironmentRecord, Page, VersionRecord

__all__ = ["find", "list_environments", "rollback", "versions"]


def list_environments(platform: Platform, *, newest_first: bool = False) -> Iterator[EnvironmentRecord]:
    """Give every environment that the key may see."""
    params = {"sort_by": "date"} if newest_first else None
    return platform.rows("/registry", into=EnvironmentRecord, params=params)


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


def versions(platform: Platform, environment: EnvironmentRecord) -> Iterator[VersionRecord]:
    """Give the versions of an environment, newest first (extension `environments`)."""
    platform.need("environments", what="the versions of environments")
    return platform.rows(f"/registry/{environment.id}/versions", into=VersionRecord)


def rollback(platform: Platform, environment: EnvironmentRecord, version: int) -> VersionRecord:
    """Make a new version that runs the image of an earlier one (extension `environments`).

    Raises:
        NotFoundError: it has no such version.
    """
    platform.need("environments", what="going back to an earlier version")
    path = f"/registry/{environment.id}/rollback"
    return platform.call("POST", path, into=VersionRecord, body={"version": version})
