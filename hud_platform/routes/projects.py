"""Projects: list, find by name, read, make."""

from __future__ import annotations

from typing import Any

from litestar import get, post
from msgspec import Struct

from hud.platform.records import ProjectRecord
from hud_platform import projects
from hud_platform.access.keys import Caller
from hud_platform.backend import Backend
from hud_platform.web.pages import Limit, Listing, Offset

__all__ = ["routes"]


class NewProject(Struct, kw_only=True):
    """What a project is made from."""

    name: str
    description: str | None = None


@get("/v2/projects")
async def list_projects(
    backend: Backend,
    caller: Caller,
    search: str | None = None,
    limit: Limit = None,
    offset: Offset = 0,
) -> Listing[ProjectRecord]:
    """A page of the projects whose name holds `search`."""
    async with backend.database.connect() as connection:
        rows, total = await projects.listed(connection, search=search, limit=limit, offset=offset)
    return Listing(items=[projects.record(row, caller) for row in rows], total=total)


@get("/v2/projects/{project_id:str}")
async def read_project(backend: Backend, caller: Caller, project_id: str) -> ProjectRecord:
    """One project."""
    return projects.record(await projects.read(backend.reader, project_id), caller)


@post("/v2/projects")
async def create_project(backend: Backend, caller: Caller, data: NewProject) -> ProjectRecord:
    """Make a project; its name is normalised."""
    async with backend.database.begin() as connection:
        row = await projects.create(connection, name=data.name, description=data.description)
    return projects.record(row, caller)


routes: list[Any] = [list_projects, read_project, create_project]
