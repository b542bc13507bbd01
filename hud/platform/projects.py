"""Projects of a platform, and the one that a command works in.

Source: platform API specification, section 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hud.errors import NotAuthorisedError, NotFoundError, UsageError
from hud.names import dashed, normalise
from hud.platform.client import PAGE_ROWS, Platform
from hud.platform.link import Link
from hud.platform.records import Page, ProjectRecord
from hud.settings import Settings

__all__ = ["create", "list_projects", "resolve_project"]


class _Selection(NamedTuple):
    """A name or an id, and in words what selected it, where that is not the command itself."""

    reference: str
    source: str = ""


def list_projects(platform: Platform) -> Iterator[ProjectRecord]:
    """Give every project that the key may see, page after page."""
    return platform.rows("/projects", into=ProjectRecord)


def create(platform: Platform, name: str, *, description: str | None = None) -> ProjectRecord:
    """Make a project.

    Raises:
        PlatformError: there is one of this name (409), or the name is none.
    """
    body = {"name": name} if description is None else {"name": name, "description": description}
    return platform.call("POST", "/projects", into=ProjectRecord, body=body)


def resolve_project(platform: Platform, reference: str | None, link: Link, settings: Settings) -> ProjectRecord | None:
    """Give the project to work in: the one named, the folder's, or the default of the settings.

    Args:
        reference: A name or an id.

    Returns:
        None when nothing selects one: the platform then takes the team's default.

    Raises:
        NotFoundError: no project has this name or id.
        UsageError: several have this name.
        NotAuthorisedError: the key may make nothing in it.
    """
    selection = _selection(reference, link, settings)
    if selection is None:
        return None
    project = _found(platform, selection)
    if not project.capabilities.create:
        raise NotAuthorisedError(
            f"the key may not deploy or sync into the project {project.name!r}{selection.source}",
            hint="hud project list, then --project NAME",
        )
    return project


def _selection(reference: str | None, link: Link, settings: Settings) -> _Selection | None:
    if reference is not None:
        return _Selection(reference)
    if link.project_id is not None:
        return _Selection(link.project_id, f" (from {link.path})")
    if settings.default_project is not None:
        source = settings.source_of.get("HUD_DEFAULT_PROJECT", "the settings")
        return _Selection(settings.default_project, f" (from HUD_DEFAULT_PROJECT of {source})")
    return None


def _found(platform: Platform, selection: _Selection) -> ProjectRecord:
    identifier = dashed(selection.reference)
    if identifier is None:
        return _named(platform, selection)
    try:
        return platform.call("GET", f"/projects/{identifier}", into=ProjectRecord)
    except NotFoundError:
        message = f"there is no project {identifier}{selection.source}"
        raise NotFoundError(message, hint="hud project list") from None


def _named(platform: Platform, selection: _Selection) -> ProjectRecord:
    name = normalise(selection.reference)
    source = selection.source
    if not name:
        raise UsageError(f"{selection.reference!r} is no project's name{source}", hint="hud project list")
    page = platform.call("GET", "/projects", into=Page, params={"search": name, "limit": PAGE_ROWS})
    rows = [platform.record(row, into=ProjectRecord, path="/projects") for row in page.items]
    found = [row for row in rows if row.name == name]
    if not found:
        raise NotFoundError(f"there is no project {name!r}{source}", hint="hud project list")
    if len(found) > 1:
        ids = ", ".join(row.id for row in found)
        raise UsageError(f"several projects are named {name!r}{source}", hint=f"name one by its id: {ids}")
    return found[0]
