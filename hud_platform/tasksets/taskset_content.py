"""What a taskset holds, as JSON in pieces: all of it, some rows, or the digests alone.

Rows are stored as the export records that they are sent as, so nothing is decoded on the way out (PA-19).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, Select, func, select

from hud_platform.storage.tables import tasks, tasksets
from hud_platform.tasksets.row_sets import among
from hud_platform.tasksets.taskset_revisions import digest_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.storage.database import Database

__all__ = ["export", "rows", "signatures"]

_READ_AT_ONCE = 1000
_READ_BYTES = 2**20


async def export(database: Database, taskset: Row[Any]) -> AsyncIterator[bytes]:
    """Give a whole taskset as JSON, each row as it was uploaded.

    What it holds is settled at once; rows are read while the receiver takes them, without keeping a connection from
    others: no row is ever written again.
    """
    live = select(tasks.c.id, func.length(tasks.c.row)).where(
        tasks.c.taskset_id == taskset.id, tasks.c.removed_in.is_(None)
    )
    async with database.connect() as connection:
        places = await _places(connection, live.order_by(tasks.c.slug))
    return _document(database, places, b'{"name":%s,"tasks":[' % msgspec.json.encode(taskset.name))


async def rows(database: Database, taskset: Row[Any], slugs: Iterable[str]) -> AsyncIterator[bytes]:
    """Give the export records of some slugs as JSON; those that are not there are left out."""
    wanted = [slug for slug in dict.fromkeys(slugs) if "\0" not in slug]  # which no slug has, nor PostgreSQL takes
    async with database.connect() as connection:
        query = select(tasks.c.id, func.length(tasks.c.row)).where(
            tasks.c.taskset_id == taskset.id, tasks.c.removed_in.is_(None), among(connection, tasks.c.slug, wanted)
        )
        places = await _places(connection, query.order_by(tasks.c.slug))
    return _document(database, places, b'{"tasks":[')


async def signatures(database: Database, taskset: Row[Any]) -> bytes:
    """Give the digest of each row by its slug, and the taskset's own, as JSON (extension)."""
    async with _snapshot(database) as connection:
        query = select(tasksets.c.current_revision).where(tasksets.c.id == taskset.id)
        revision = (await connection.execute(query)).scalar_one()
        digest = await digest_of(connection, taskset.id, revision)
        live = select(tasks.c.slug, tasks.c.digest).where(
            tasks.c.taskset_id == taskset.id, tasks.c.removed_in.is_(None)
        )
        async with connection.stream(live.order_by(tasks.c.slug)) as result:
            pieces = [_without_braces(part) async for part in result.partitions(_READ_AT_ONCE)]
    head = b'{"revision":%d,"digest":"%s","tasks":{' % (revision, digest.encode())
    return head + b",".join(pieces) + b"}}"


def _without_braces(part: Sequence[Any]) -> bytes:
    return msgspec.json.encode({slug: digest.hex() for slug, digest in part})[1:-1]


async def _places(connection: AsyncConnection, query: Select[Any]) -> list[tuple[int, int]]:
    """Give the ids of rows and their sizes in bytes."""
    found: list[tuple[int, int]] = []
    async with connection.stream(query) as result:
        async for part in result.partitions(_READ_AT_ONCE):
            found += [(row_id, size_bytes) for row_id, size_bytes in part]
    return found


async def _document(database: Database, places: Sequence[tuple[int, int]], head: bytes) -> AsyncIterator[bytes]:
    for part in _portions(places):
        async with database.connect() as connection:
            query = select(tasks.c.id, tasks.c.row).where(among(connection, tasks.c.id, part))
            found = {row.id: row.row for row in await connection.execute(query)}
        yield head + b",".join([found[row_id] for row_id in part])
        head = b","
    yield b"]}" if places else head + b"]}"


def _portions(places: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Split rows into portions of bounded number and size."""
    portion: list[int] = []
    size_bytes = 0
    for row_id, row_bytes in places:
        if portion and (len(portion) == _READ_AT_ONCE or size_bytes + row_bytes > _READ_BYTES):
            yield portion
            portion, size_bytes = [], 0
        portion.append(row_id)
        size_bytes += row_bytes
    if portion:
        yield portion


@asynccontextmanager
async def _snapshot(database: Database) -> AsyncIterator[AsyncConnection]:
    """Open a connection whose reads all see one state, as those of SQLite do anyway."""
    async with database.connect() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection
