"""The revisions of tasksets: immutable, named by their content, each made in one transaction and only by a change.

A row of `tasks` is in every revision from `added_in` until before `removed_in`, and is never written again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from sqlalchemy import ColumnElement, Row, func, insert, literal, select, update

from hud.errors import NotFoundError
from hud.platform.records import RevisionRecord
from hud.sync.signature import taskset_digest
from hud_platform.storage.tables import api_keys, tasks, taskset_revisions, tasksets
from hud_platform.tasksets.row_sets import among
from hud_platform.web.pages import Listing
from hud_platform.web.refusals import Conflict
from hud_platform.web.times import now, stamp

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["EMPTY_DIGEST", "Change", "Rows", "change", "digest_of", "listed", "roll_back"]

EMPTY_DIGEST = taskset_digest({})
"""The digest of a taskset without rows."""

_READ_AT_ONCE = 1000  # rows that SQLAlchemy unpacks in one turn of the event loop
_WRITTEN_AT_ONCE = 1000
_WRITTEN_BYTES = 8 * 2**20

_COLUMNS = '(taskset_id, added_in, slug, digest, "row")'
_INSERT = f"INSERT INTO tasks {_COLUMNS} VALUES (?, ?, ?, ?, ?)"  # noqa: S608  # all of it is here
_COPY = f"COPY tasks {_COLUMNS} FROM STDIN (FORMAT BINARY)"
_COPIED = ("uuid", "int4", "text", "bytea", "bytea")


class Rows(Protocol):
    """Rows that a taskset is to have."""

    @property
    def digests(self) -> Mapping[str, bytes]:
        """The digest of each by its slug."""

    def records(self, slugs: Iterable[str]) -> Iterator[bytes]:
        """Give the export records of these slugs, in their order."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of a taskset.

    Attributes:
        revision: The current one: a new one when anything changed.
        digest: Of its content.
    """

    revision: int
    digest: str
    created: int = 0
    updated: int = 0
    removed: int = 0


class _Member(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # a collector that walks 100,000 stops everybody
    id: int
    digest: bytes
    added_in: int


@dataclass(frozen=True, kw_only=True)
class _Plan:
    created: Sequence[str]
    updated: Sequence[str]
    removed: Sequence[str]
    left: Sequence[int]
    digest: str
    total: int


async def change(
    connection: AsyncConnection,
    taskset_id: uuid.UUID,
    *,
    rows: Rows,
    remove: Iterable[str] = (),
    base_digest: str | None = None,
    key_id: uuid.UUID | None,
) -> Change:
    """Create, update and remove rows; those that are equal to what is there stay, and others too (PA-21).

    The transaction has to be a writing one; changes of one taskset wait for each other.

    Args:
        remove: Slugs of rows that go; those that are not there are none of its business.
        base_digest: Of the revision that the change was made for.

    Raises:
        Conflict: another revision is the current one by now.
    """
    current = await _locked(connection, taskset_id)
    digest = await digest_of(connection, taskset_id, current)
    if base_digest is not None and base_digest.lower() != digest:
        raise Conflict(
            f"the taskset is at revision {current}, which is not the one that this upload was compared with",
            hint="compare again and upload what differs now",
        )
    live = await _members(connection, taskset_id, tasks.c.removed_in.is_(None))
    plan = await asyncio.to_thread(_planned, live, rows.digests, remove)
    if plan is None:
        return Change(revision=current, digest=digest)
    made = Change(
        revision=current + 1,
        digest=plan.digest,
        created=len(plan.created),
        updated=len(plan.updated),
        removed=len(plan.removed),
    )
    await _retire(connection, plan.left, made.revision)
    await _add(connection, taskset_id, rows, (*plan.created, *plan.updated), made.revision)
    await _record(connection, taskset_id, made, plan.total, key_id=key_id)
    return made


async def roll_back(
    connection: AsyncConnection, taskset_id: uuid.UUID, wanted: int, *, key_id: uuid.UUID | None
) -> RevisionRecord:
    """Make a new revision with the content of an earlier one; none when that is the present content.

    Raises:
        NotFoundError: there is no such revision.
    """
    current = await _locked(connection, taskset_id)
    target = await _row(connection, taskset_id, wanted)
    if target.digest != await digest_of(connection, taskset_id, current):
        live = await _members(connection, taskset_id, tasks.c.removed_in.is_(None))
        past = (tasks.c.removed_in > wanted) & (tasks.c.added_in <= wanted)
        old = await _members(connection, taskset_id, past)
        made, left, back = await asyncio.to_thread(_planned_back, live, old, wanted, target.digest, current + 1)
        await _retire(connection, left, made.revision)
        columns = (tasks.c.taskset_id, tasks.c.slug, tasks.c.digest, tasks.c.row)
        again = select(*columns, literal(made.revision)).where(among(connection, tasks.c.id, back))
        await connection.execute(insert(tasks).from_select([*columns, tasks.c.added_in], again))
        await _record(connection, taskset_id, made, target.tasks, key_id=key_id, rolled_back_to=wanted)
        current = made.revision
    return _revision_record(await _row(connection, taskset_id, current), current)


async def listed(
    connection: AsyncConnection, taskset: Row[Any], *, limit: int | None, offset: int
) -> Listing[RevisionRecord]:
    """Give a page of a taskset's revisions, newest first."""
    of_it = taskset_revisions.c.taskset_id == taskset.id
    page = _with_keys().where(of_it).order_by(taskset_revisions.c.number.desc()).offset(offset)
    rows = (await connection.execute(page if limit is None else page.limit(limit))).all()
    total = await connection.scalar(select(func.count()).select_from(taskset_revisions).where(of_it))
    return Listing(items=[_revision_record(row, taskset.current_revision) for row in rows], total=total or 0)


async def digest_of(connection: AsyncConnection, taskset_id: uuid.UUID, number: int) -> str:
    """Give the digest of a revision; 0 is the state before the first."""
    if number == 0:
        return EMPTY_DIGEST
    digest: str = (await _row(connection, taskset_id, number)).digest
    return digest


async def _locked(connection: AsyncConnection, taskset_id: uuid.UUID) -> int:
    """Give the current revision of a taskset that nobody else changes until this transaction ends."""
    query = select(tasksets.c.current_revision).where(tasksets.c.id == taskset_id)
    current: int = (await connection.execute(query.with_for_update())).scalar_one()
    return current


async def _members(
    connection: AsyncConnection, taskset_id: uuid.UUID, condition: ColumnElement[bool]
) -> dict[str, _Member]:
    columns = tasks.c
    query = select(columns.id, columns.slug, columns.digest, columns.added_in)
    found: dict[str, _Member] = {}
    async with connection.stream(query.where(columns.taskset_id == taskset_id, condition)) as result:
        async for part in result.partitions(_READ_AT_ONCE):
            for row_id, slug, digest, added_in in part:
                found[slug] = _Member(id=row_id, digest=digest, added_in=added_in)
    return found


def _planned(live: Mapping[str, _Member], wanted: Mapping[str, bytes], remove: Iterable[str]) -> _Plan | None:
    """Give what makes the wanted rows of those that are there, or None when they are there already."""
    created = [slug for slug in wanted if slug not in live]
    updated = [slug for slug, digest in wanted.items() if slug in live and live[slug].digest != digest]
    removed = [slug for slug in dict.fromkeys(remove) if slug in live]
    if not (created or updated or removed):
        return None
    content = {slug: member.digest for slug, member in live.items()}
    content.update(wanted)
    for slug in removed:
        del content[slug]
    return _Plan(
        created=created,
        updated=updated,
        removed=removed,
        left=[live[slug].id for slug in (*updated, *removed)],
        digest=taskset_digest(content),
        total=len(content),
    )


def _planned_back(
    live: Mapping[str, _Member], past: Mapping[str, _Member], wanted: int, digest: str, number: int
) -> tuple[Change, list[int], list[int]]:
    """Give what a rollback does, the ids of the rows that leave, and of those that are there again."""
    old = {slug: member for slug, member in live.items() if member.added_in <= wanted} | dict(past)
    gone = [slug for slug in live if slug not in old]
    replaced = [slug for slug, member in live.items() if slug in old and old[slug].digest != member.digest]
    back = [slug for slug in old if slug not in live]
    made = Change(revision=number, digest=digest, created=len(back), updated=len(replaced), removed=len(gone))
    return made, [live[slug].id for slug in (*gone, *replaced)], [old[slug].id for slug in (*back, *replaced)]


async def _retire(connection: AsyncConnection, ids: Sequence[int], number: int) -> None:
    if ids:
        await connection.execute(update(tasks).where(among(connection, tasks.c.id, ids)).values(removed_in=number))


async def _add(
    connection: AsyncConnection, taskset_id: uuid.UUID, rows: Rows, slugs: Sequence[str], number: int
) -> None:
    values: list[tuple[str, bytes, bytes]] = []
    size_bytes = 0
    for slug, record in zip(slugs, rows.records(slugs), strict=True):
        values.append((slug, rows.digests[slug], record))
        size_bytes += len(record)
        if len(values) == _WRITTEN_AT_ONCE or size_bytes >= _WRITTEN_BYTES:
            await _insert(connection, taskset_id, values, number)
            values, size_bytes = [], 0
    if values:
        await _insert(connection, taskset_id, values, number)


async def _insert(
    connection: AsyncConnection, taskset_id: uuid.UUID, values: Sequence[tuple[str, bytes, bytes]], number: int
) -> None:
    # Past SQLAlchemy's statements, whose work for each row costs as much as the database's own.
    if connection.dialect.name == "sqlite":
        owner = taskset_id.hex
        await connection.exec_driver_sql(_INSERT, [(owner, number, *row) for row in values])
        return
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_COPIED)
        for row in values:
            await copy.write_row((taskset_id, number, *row))


async def _record(
    connection: AsyncConnection,
    taskset_id: uuid.UUID,
    made: Change,
    total: int,
    *,
    key_id: uuid.UUID | None,
    rolled_back_to: int | None = None,
) -> None:
    values = {
        "taskset_id": taskset_id,
        "number": made.revision,
        "digest": made.digest,
        "tasks": total,
        "created": made.created,
        "updated": made.updated,
        "removed": made.removed,
        "rolled_back_to": rolled_back_to,
        "key_id": key_id,
        "created_at": now(),
    }
    await connection.execute(insert(taskset_revisions).values(values))
    await connection.execute(update(tasksets).where(tasksets.c.id == taskset_id).values(current_revision=made.revision))


def _with_keys() -> Any:
    return select(taskset_revisions, api_keys.c.name.label("key_name")).outerjoin(
        api_keys, api_keys.c.id == taskset_revisions.c.key_id
    )


async def _row(connection: AsyncConnection, taskset_id: uuid.UUID, number: int) -> Row[Any]:
    query = _with_keys().where(taskset_revisions.c.taskset_id == taskset_id, taskset_revisions.c.number == number)
    row: Row[Any] | None = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"the taskset has no revision {number}", hint="GET /v2/tasksets/{id}/revisions lists them")
    return row


def _revision_record(row: Row[Any], current: int) -> RevisionRecord:
    return RevisionRecord(
        revision=row.number,
        digest=row.digest,
        tasks=row.tasks,
        created=row.created,
        updated=row.updated,
        removed=row.removed,
        created_at=stamp(row.created_at),
        current=row.number == current,
        key_name=row.key_name,
        rolled_back_to=row.rolled_back_to,
    )
