"""Projects: what environments and tasksets belong to; one of them is the default."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, func, select

from hud.errors import NotFoundError, UsageError
from hud.names import normalise
from hud.platform.records import ProjectCapabilities, ProjectRecord
from hud_platform.storage.tables import projects
from hud_platform.web import ids
from hud_platform.web.refusals import Conflict
from hud_platform.web.times import now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.access.keys import Caller
    from hud_platform.storage.database import Reader

__all__ = ["create", "find_or_make_default", "listed", "read", "record", "resolve"]

_DEFAULT_NAME = "default"
_LONGEST_NAME = 255
_LONGEST_DESCRIPTION = 10_000

_BY_ID = select(projects).where(projects.c.id == bindparam("id"))


async def find_or_make_default(connection: AsyncConnection) -> Row[Any]:
    """Give the default project; the first time makes it."""
    row = (await connection.execute(select(projects).where(projects.c.is_default))).one_or_none()
    if row is not None:
        return row
    added = projects.insert().values(id=uuid.uuid4(), name=_DEFAULT_NAME, is_default=True, created_at=now())
    made: Row[Any] = (await connection.execute(added.returning(projects))).one()
    return made


async def resolve(connection: AsyncConnection, project_id: str | None) -> Row[Any]:
    """Give the row of a project; of the default one when none is named (PA-09).

    Raises:
        NotFoundError: there is no such project.
    """
    if project_id is None:
        return (await connection.execute(select(projects).where(projects.c.is_default))).one()
    row = (await connection.execute(_BY_ID, {"id": ids.parse(project_id, "project")})).one_or_none()
    return _found(row, project_id)


async def read(reader: Reader, project_id: str) -> Row[Any]:
    """Give the row of a project.

    Raises:
        NotFoundError: there is no such project.
    """
    return _found(await reader.one(_BY_ID, {"id": ids.parse(project_id, "project")}), project_id)


async def create(connection: AsyncConnection, *, name: str, description: str | None) -> Row[Any]:
    """Make a project and give its row.

    Raises:
        UsageError: nothing of the name is left when it is normalised, or it is too long.
        Conflict: a project has that name.
    """
    normalised = normalise(name)
    if not normalised or len(normalised) > _LONGEST_NAME:
        raise UsageError(
            f"{name[:80]!r} cannot name a project", hint=f"1 to {_LONGEST_NAME} letters, digits and hyphens"
        )
    if description is not None and len(description) > _LONGEST_DESCRIPTION:
        raise UsageError(f"a description of {len(description)} characters is too long: at most {_LONGEST_DESCRIPTION}")
    if await connection.scalar(select(projects.c.id).where(projects.c.name == normalised)):
        raise Conflict(f"there is a project named {normalised!r}", hint=f"hud project use {normalised}")
    values = {"name": normalised, "description": description, "is_default": False, "created_at": now()}
    added = projects.insert().values(id=uuid.uuid4(), **values)
    row: Row[Any] = (await connection.execute(added.returning(projects))).one()
    return row


async def listed(
    connection: AsyncConnection, *, search: str | None, limit: int | None, offset: int
) -> tuple[list[Row[Any]], int]:
    """Give a page of the projects whose name holds `search`, the default first, and how many there are."""
    wanted = select(projects)
    if search:
        wanted = wanted.where(projects.c.name.contains(search.strip().lower(), autoescape=True))
    total = await connection.scalar(select(func.count()).select_from(wanted.subquery()))
    page = wanted.order_by(projects.c.is_default.desc(), projects.c.name).offset(offset)
    rows = (await connection.execute(page if limit is None else page.limit(limit))).all()
    return list(rows), total or 0


def record(row: Row[Any], caller: Caller) -> ProjectRecord:
    """Give a project as a caller sees it."""
    return ProjectRecord(
        id=str(row.id),
        name=row.name,
        is_default=row.is_default,
        capabilities=ProjectCapabilities(create=caller.may("write")),
        description=row.description,
    )


def _found(row: Row[Any] | None, project_id: str) -> Row[Any]:
    if row is None:
        raise NotFoundError(f"no project has the id {project_id!r}", hint="hud project list")
    return row
