"""Uploads of task rows: whole, as the public API has them, or in batches that one commit makes a revision of.

Either way rows are read and checked first, and stored in one transaction: all of them or nothing (PA-20).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, delete, func, select, update

from hud.errors import UsageError
from hud.platform.records import TaskUploadReply
from hud_platform import projects
from hud_platform.storage.database import insert_into
from hud_platform.storage.tables import task_upload_batches, task_uploads
from hud_platform.tasksets import tasksets
from hud_platform.tasksets.task_checks import Checks
from hud_platform.tasksets.task_intake import Intake, intake
from hud_platform.tasksets.task_rows import Buffer, read_body
from hud_platform.tasksets.taskset_revisions import change
from hud_platform.web.refusals import Conflict
from hud_platform.web.times import now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.access.keys import Caller
    from hud_platform.backend import Backend

__all__ = ["MOST_BATCHES", "CommitRequest", "commit", "put_batch", "upload"]

MOST_BATCHES = 100_000
"""Batches of one upload; their numbers begin at 0."""

_KEPT = timedelta(days=7)  # what nobody commits, and the replies to what was committed


@dataclass(frozen=True, kw_only=True)
class CommitRequest:
    """What an upload in batches is to become.

    Attributes:
        batches: How many there are: numbers 0 to one less.
        remove: Slugs of rows that go.
        base_digest: Of the revision that was compared with; another one at the time of the commit refuses it.
    """

    batches: int
    taskset_name: str | None = None
    taskset_id: str | None = None
    project_id: str | None = None
    remove: Sequence[str] = ()
    base_digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Target:
    """Where rows go: a taskset by its id, which wins, or by its name, made when there is none."""

    name: str | None
    taskset_id: str | None
    project_id: str | None


async def upload(backend: Backend, caller: Caller, body: Buffer) -> TaskUploadReply:
    """Create and update the rows of `POST /tasks/upload`.

    Raises:
        UsageError: the body or a row is malformed, or asks for what no environment of the project has.
        NotFoundError: there is no such project or taskset.
        Conflict: the taskset is another project's.
    """
    asked = await asyncio.to_thread(read_body, body)
    target = _Target(name=asked.taskset_name, taskset_id=asked.taskset_id, project_id=asked.project_id)
    with intake(backend.database, await _checks(backend, target), backend.data.uploads) as taken:
        await taken.take(asked.tasks, lambda index: f"tasks[{index}]")
        taken.refuse_problems()
        async with backend.database.begin() as connection:
            return await _store(connection, target, taken, key_id=caller.key_id)


async def put_batch(backend: Backend, upload_id: uuid.UUID, number: int, rows: bytes) -> None:
    """Keep a batch until its upload is committed; a batch of that number is replaced, and a late one is nothing."""
    async with backend.database.begin() as connection:
        if number == 0:
            await connection.execute(delete(task_uploads).where(task_uploads.c.created_at < now() - _KEPT))
        if await _locked(connection, upload_id) is None:
            values = {"upload_id": upload_id, "number": number, "rows": rows}
            added = insert_into(connection, task_upload_batches).values(**values)
            replaced = {"rows": added.excluded.rows}
            await connection.execute(added.on_conflict_do_update(index_elements=["upload_id", "number"], set_=replaced))


async def commit(backend: Backend, caller: Caller, upload_id: uuid.UUID, asked: CommitRequest) -> TaskUploadReply:
    """Make the batches of an upload the next revision of a taskset; asking again gives the same reply (PA-07).

    Raises:
        UsageError: a row is malformed, asks for what no environment of the project has, or is removed as well.
        NotFoundError: there is no such project or taskset.
        Conflict: a batch has not arrived, the taskset is another project's, or its content is no longer what the
            upload was compared with.
    """
    query = select(task_uploads.c.result).where(task_uploads.c.id == upload_id)
    async with backend.database.connect() as connection:
        if (done := await connection.scalar(query)) is not None:
            return msgspec.convert(done, TaskUploadReply)
        await _require_batches(connection, upload_id, asked.batches)
    target = _Target(name=asked.taskset_name, taskset_id=asked.taskset_id, project_id=asked.project_id)
    with intake(backend.database, await _checks(backend, target), backend.data.uploads) as taken:
        for number in range(asked.batches):
            await _take_batch(backend, taken, upload_id, number)
        taken.refuse_problems()
        for slug in asked.remove:
            if slug in taken.digests:
                raise UsageError(f"task {slug!r} is uploaded and removed at once", hint="leave it out of one of them")
        async with backend.database.begin() as connection:
            if (done := await _locked(connection, upload_id)) is not None:
                return msgspec.convert(done, TaskUploadReply)
            await _require_batches(connection, upload_id, asked.batches)
            reply = await _store(
                connection, target, taken, key_id=caller.key_id, remove=asked.remove, base_digest=asked.base_digest
            )
            # With the rows, so that an answer which gets lost is given again.
            await connection.execute(
                update(task_uploads).where(task_uploads.c.id == upload_id).values(result=msgspec.to_builtins(reply))
            )
            await connection.execute(delete(task_upload_batches).where(task_upload_batches.c.upload_id == upload_id))
            return reply


async def _locked(connection: AsyncConnection, upload_id: uuid.UUID) -> Any:
    """Give the result of an upload, None before its commit; nobody else touches it until this transaction ends."""
    added = insert_into(connection, task_uploads).values(id=upload_id, created_at=now())
    await connection.execute(added.on_conflict_do_nothing(index_elements=["id"]))
    query = select(task_uploads.c.result).where(task_uploads.c.id == upload_id)
    return await connection.scalar(query.with_for_update())


async def _require_batches(connection: AsyncConnection, upload_id: uuid.UUID, count: int) -> None:
    counted = select(func.count()).where(
        task_upload_batches.c.upload_id == upload_id, task_upload_batches.c.number < count
    )
    if (arrived := await connection.scalar(counted) or 0) < count:
        raise Conflict(f"{arrived} of the {count} batches of upload {upload_id} have arrived", hint="send the others")


async def _take_batch(backend: Backend, taken: Intake, upload_id: uuid.UUID, number: int) -> None:
    query = select(task_upload_batches.c.rows).where(
        task_upload_batches.c.upload_id == upload_id, task_upload_batches.c.number == number
    )
    async with backend.database.connect() as connection:
        rows = await connection.scalar(query)
    # None for one that another commit of the same upload has used by now; that one's result is given.
    lines = [line for line in (rows or b"").split(b"\n") if line.strip()]
    await taken.take(lines, lambda index: f"row {index} of batch {number}")


async def _checks(backend: Backend, target: _Target) -> Checks:
    async with backend.database.connect() as connection:
        project, _ = await _resolve(connection, target)
    return Checks(project_id=project.id, project=project.name)


async def _resolve(connection: AsyncConnection, target: _Target) -> tuple[Row[Any], Row[Any] | None]:
    """Give the project that rows go to, and the taskset if there is one."""
    wanted = None if target.project_id is None else await projects.resolve(connection, target.project_id)
    if target.taskset_id is not None:
        taskset = await tasksets.find(connection, target.taskset_id)
        if wanted is not None and wanted.id != taskset.project_id:
            raise Conflict(
                f"the taskset {taskset.name!r} is not of the project {wanted.name!r}",
                hint="choose its own project, or another taskset",
            )
        return wanted or await projects.resolve(connection, str(taskset.project_id)), taskset
    if target.name is None:
        raise UsageError("an upload says neither taskset_name nor taskset_id")
    found = await tasksets.named(connection, target.name, None if wanted is None else wanted.id)
    if wanted is None:
        wanted = await projects.resolve(connection, None if found is None else str(found.project_id))
    return wanted, found


async def _store(
    connection: AsyncConnection,
    target: _Target,
    taken: Intake,
    *,
    key_id: uuid.UUID,
    remove: Sequence[str] = (),
    base_digest: str | None = None,
) -> TaskUploadReply:
    project, taskset = await _resolve(connection, target)
    if taskset is None:
        taskset = await tasksets.find_or_create(connection, project, target.name or "")
    made = await change(connection, taskset.id, rows=taken, remove=remove, base_digest=base_digest, key_id=key_id)
    return TaskUploadReply(
        taskset_id=str(taskset.id),
        tasks_created=made.created,
        tasks_updated=made.updated,
        tasks_removed=made.removed,
        revision=made.revision,
        digest=made.digest,
    )
