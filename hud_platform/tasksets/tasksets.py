"""Tasksets: named collections of task rows in a project; how they are found and listed.

Source: platform API specification, section 7.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Select, bindparam, func, select

from hud.errors import NotFoundError, UsageError
from hud.names import normalise
from hud.platform.records import TasksetName, TasksetRecord
from hud_platform.storage.database import insert_into
from hud_platform.storage.tables import projects, taskset_revisions, tasksets
from hud_platform.tasksets.taskset_revisions import EMPTY_DIGEST
from hud_platform.web import ids
from hud_platform.web.pages import Listing
from hud_platform.web.refusals import Conflict
from hud_platform.web.times import now, stamp

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.access.keys import Caller
    from hud_platform.storage.database import Reader

__all__ = [
    "by_name",
    "create",
    "find",
    "find_or_create",
    "listed",
    "named",
    "read",
    "record",
]

_LONGEST_NAME = 512

_RECORDS = select(
    tasksets, taskset_revisions.c.digest.label("digest"), taskset_revisions.c.tasks.label("tasks")
).outerjoin(
    taskset_revisions,
    (taskset_revisions.c.taskset_id == tasksets.c.id) & (taskset_revisions.c.number == tasksets.c.current_revision),
)
_BY_ID = _RECORDS.where(tasksets.c.id == bindparam("id"))

# The default project first, then as they were made: names are unique in a project alone.
_NAMED = (
    select(tasksets)
    .join(projects, projects.c.id == tasksets.c.project_id)
    .order_by(projects.c.is_default.desc(), tasksets.c.created_at, tasksets.c.id)
    .limit(1)
)
_BY_NAME = _NAMED.where(tasksets.c.name == bindparam("name"))
_BY_NORMALISED_NAME = _NAMED.where(tasksets.c.normalised_name == bindparam("name"))


async def read(reader: Reader, taskset_id: str) -> Row[Any]:
    """Give the row of a taskset with the `digest` and number of `tasks` of its current revision.

    Raises:
        NotFoundError: there is no such taskset.
    """
    return _found(await reader.one(_BY_ID, {"id": ids.parse(taskset_id, "taskset")}), taskset_id)


async def find(connection: AsyncConnection, taskset_id: str) -> Row[Any]:
    """Give the same inside of a transaction.

    Raises:
        NotFoundError: there is no such taskset.
    """
    row = (await connection.execute(_BY_ID, {"id": ids.parse(taskset_id, "taskset")})).one_or_none()
    return _found(row, taskset_id)


async def by_name(reader: Reader, name: str) -> TasksetName:
    """Give the taskset of exactly this name, else one whose normalised name is this one's (PA-23).

    Raises:
        NotFoundError: there is none.
    """
    row = await reader.one(_BY_NAME, {"name": name}) if _is_name(name) else None
    if row is None and (normalised := normalise(name)):
        row = await reader.one(_BY_NORMALISED_NAME, {"name": normalised})
    if row is None:
        raise NotFoundError(f"no taskset is named {name[:200]!r}", hint="hud sync tasks NAME makes one")
    return TasksetName(taskset_id=str(row.id), name=row.name)


async def named(connection: AsyncConnection, name: str, project_id: uuid.UUID | None) -> Row[Any] | None:
    """Give the row of the taskset that an upload means by a name, as `by_name` finds it, or None.

    Args:
        project_id: Where it has to be; None for wherever there is one.

    Raises:
        UsageError: no taskset can have the name.
    """
    _require_name(name)
    for query, wanted in ((_BY_NAME, name), (_BY_NORMALISED_NAME, normalise(name))):
        inside = query if project_id is None else query.where(tasksets.c.project_id == project_id)
        if wanted and (row := (await connection.execute(inside, {"name": wanted})).one_or_none()):
            return row
    return None


async def create(connection: AsyncConnection, project: Row[Any], name: str) -> Row[Any]:
    """Make a taskset and give its row.

    Raises:
        UsageError: no taskset can have the name.
        Conflict: the project has one of that name.
    """
    _require_name(name)
    row = await _insert(connection, project, name)
    if row is None:
        raise Conflict(f"the project {project.name!r} has a taskset named {name[:200]!r}", hint="upload into that one")
    return await find(connection, str(row.id))


async def find_or_create(connection: AsyncConnection, project: Row[Any], name: str) -> Row[Any]:
    """Give the row of a project's taskset, made when there is none.

    Raises:
        UsageError: no taskset can have the name.
    """
    while (row := await named(connection, name, project.id)) is None:
        await _insert(connection, project, name)  # or somebody else does at this moment
    return row


async def _insert(connection: AsyncConnection, project: Row[Any], name: str) -> Row[Any] | None:
    values = {"id": uuid.uuid4(), "project_id": project.id, "name": name, "normalised_name": normalise(name)}
    statement = insert_into(connection, tasksets).values(**values, current_revision=0, created_at=now())
    added = statement.on_conflict_do_nothing(index_elements=["project_id", "name"]).returning(tasksets)
    row: Row[Any] | None = (await connection.execute(added)).one_or_none()
    return row


def _is_name(name: str) -> bool:
    return bool(name.strip()) and len(name) <= _LONGEST_NAME and "\0" not in name


def _require_name(name: str) -> None:
    if not _is_name(name):
        hint = f"1 to {_LONGEST_NAME} characters, none of them a zero byte"
        raise UsageError(f"{name[:80]!r} cannot name a taskset", hint=hint)


def _found(row: Row[Any] | None, taskset_id: str) -> Row[Any]:
    if row is None:
        raise NotFoundError(f"no taskset has the id {taskset_id!r}", hint="GET /v2/tasksets lists them")
    return row


async def listed(
    connection: AsyncConnection, caller: Caller, *, search: str | None, limit: int | None, offset: int
) -> Listing[TasksetRecord]:
    """Give a page of the tasksets whose name holds `search`, by name."""
    wanted: Select[Any] = _RECORDS
    counted = select(func.count()).select_from(tasksets)
    if search:
        search = search.replace("\0", "\N{REPLACEMENT CHARACTER}")  # no name has one, and PostgreSQL takes none
        holds = tasksets.c.name.icontains(search, autoescape=True)
        wanted, counted = wanted.where(holds), counted.where(holds)
    page = wanted.order_by(tasksets.c.name, tasksets.c.id).offset(offset)
    found = (await connection.execute(page if limit is None else page.limit(limit))).all()
    return Listing(items=[record(row, caller) for row in found], total=await connection.scalar(counted) or 0)


def record(row: Row[Any], caller: Caller) -> TasksetRecord:
    """Give a taskset as a caller sees it."""
    return TasksetRecord(
        id=str(row.id),
        name=row.name,
        project_id=str(row.project_id),
        can_edit=caller.may("write"),
        revision=row.current_revision,
        digest=row.digest or EMPTY_DIGEST,
        tasks=row.tasks or 0,
        created_at=stamp(row.created_at),
    )
