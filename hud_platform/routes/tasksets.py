"""Tasksets: found by name or id, read, uploaded to, and taken back to an earlier revision."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request, Response, get, post, put
from litestar.response import Stream

from hud.errors import NotFoundError
from hud.platform.records import RevisionRecord, TasksetName, TasksetRecord, TaskUploadReply
from hud_platform import projects
from hud_platform.access.keys import Caller
from hud_platform.backend import Backend
from hud_platform.tasksets import task_uploads, taskset_content, taskset_revisions, tasksets
from hud_platform.web import ids
from hud_platform.web.bodies import spooled
from hud_platform.web.pages import MOST, Limit, Listing, Offset

__all__ = ["routes"]

_UPLOAD_LIMIT_BYTES = 2 * 2**30
_BATCH_LIMIT_BYTES = 256 * 2**20
_BY_NAME = b"/tasksets/by-name/"


class NewTaskset(msgspec.Struct, kw_only=True):
    """What a taskset is made from; without a project it is the default one's."""

    name: str
    project_id: str | None = None


class WantedRows(msgspec.Struct, kw_only=True):
    """Which rows to give."""

    slugs: list[str]


class Rollback(msgspec.Struct, kw_only=True):
    """The revision whose content is wanted again."""

    revision: Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class Commit(msgspec.Struct, kw_only=True):
    """What an upload in batches is to become."""

    batches: Annotated[int, msgspec.Meta(ge=0, le=task_uploads.MOST_BATCHES)]
    taskset_name: str | None = None
    taskset_id: str | None = None
    project_id: str | None = None
    remove: list[str] = []
    base_digest: str | None = None


@get("/v2/tasksets")
async def list_tasksets(
    backend: Backend, caller: Caller, search: str | None = None, limit: Limit = None, offset: Offset = 0
) -> Listing[TasksetRecord]:
    """A page of the tasksets whose name holds `search`."""
    async with backend.database.connect() as connection:
        return await tasksets.listed(connection, caller, search=search, limit=limit, offset=offset)


@get("/v2/tasksets/by-name/{name:path}")
async def find_taskset(backend: Backend, request: Request[Any, Any, Any], name: str) -> TasksetName:  # noqa: ARG001
    """The taskset of a name: exactly, else by its normalised form."""
    # From the path as it was sent: the decoded one has lost which slashes are the name's (PA-23).
    raw: bytes = request.scope["raw_path"]
    wanted = unquote_to_bytes(raw.partition(b"?")[0].partition(_BY_NAME)[2]).decode(errors="replace")
    return await tasksets.by_name(backend.reader, wanted)


@get("/v2/tasksets/{taskset_id:str}")
async def read_taskset(backend: Backend, caller: Caller, taskset_id: str) -> TasksetRecord:
    """One taskset."""
    return tasksets.record(await tasksets.read(backend.reader, taskset_id), caller)


@post("/v2/tasksets")
async def create_taskset(backend: Backend, caller: Caller, data: NewTaskset) -> TasksetRecord:
    """Make an empty taskset."""
    async with backend.database.begin() as connection:
        project = await projects.resolve(connection, data.project_id)
        return tasksets.record(await tasksets.create(connection, project, data.name), caller)


@get("/v2/tasksets/{taskset_id:str}/export")
async def export_taskset(backend: Backend, taskset_id: str) -> Stream:
    """All rows of a taskset, exactly as they were uploaded."""
    taskset = await tasksets.read(backend.reader, taskset_id)
    return Stream(await taskset_content.export(backend.database, taskset), media_type="application/json")


@get("/v2/tasksets/{taskset_id:str}/signatures")
async def read_signatures(backend: Backend, taskset_id: str) -> Response[bytes]:
    """The digest of each row by its slug, and the taskset's own."""
    taskset = await tasksets.read(backend.reader, taskset_id)
    content = await taskset_content.signatures(backend.database, taskset)
    return Response(content, media_type="application/json")


@post("/v2/tasksets/{taskset_id:str}/rows", opt={"scope": "read"}, status_code=200)
async def read_rows(backend: Backend, taskset_id: str, data: WantedRows) -> Stream:
    """Some rows of a taskset; slugs that it does not have are left out."""
    taskset = await tasksets.read(backend.reader, taskset_id)
    return Stream(await taskset_content.rows(backend.database, taskset, data.slugs), media_type="application/json")


@get("/v2/tasksets/{taskset_id:str}/revisions")
async def list_revisions(
    backend: Backend, taskset_id: str, limit: Limit = None, offset: Offset = 0
) -> Listing[RevisionRecord]:
    """A page of a taskset's revisions, newest first."""
    taskset = await tasksets.read(backend.reader, taskset_id)
    async with backend.database.connect() as connection:
        return await taskset_revisions.listed(connection, taskset, limit=limit, offset=offset)


@post("/v2/tasksets/{taskset_id:str}/rollback", status_code=200)
async def roll_back_taskset(backend: Backend, caller: Caller, taskset_id: str, data: Rollback) -> RevisionRecord:
    """Make a new revision with the content of an earlier one."""
    async with backend.database.begin() as connection:
        taskset = await tasksets.find(connection, taskset_id)
        return await taskset_revisions.roll_back(connection, taskset.id, data.revision, key_id=caller.key_id)


@post("/v2/tasks/upload", status_code=200, request_max_body_size=None)
async def upload_tasks(backend: Backend, caller: Caller, request: Request[Any, Any, Any]) -> TaskUploadReply:
    """Create and update rows of a taskset, all or none."""
    async with spooled(request, backend.data.uploads, limit_bytes=_UPLOAD_LIMIT_BYTES) as body:
        backend.metrics.uploaded_bytes.labels("tasks").inc(len(body))
        return await task_uploads.upload(backend, caller, body)


@put("/v2/task-uploads/{upload_id:str}/{number:int}", status_code=204, request_max_body_size=_BATCH_LIMIT_BYTES)
async def put_batch(backend: Backend, upload_id: str, number: int, request: Request[Any, Any, Any]) -> None:
    """Send one batch of an upload, as newline-delimited JSON; again, it replaces what was sent."""
    if not 0 <= number < task_uploads.MOST_BATCHES:
        raise NotFoundError(f"batches are numbered 0 to {task_uploads.MOST_BATCHES - 1}, not {number}")
    async with spooled(request, backend.data.uploads, limit_bytes=_BATCH_LIMIT_BYTES) as body:
        backend.metrics.uploaded_bytes.labels("tasks").inc(len(body))
        await task_uploads.put_batch(backend, ids.parse(upload_id, "upload"), number, bytes(body))


@post("/v2/task-uploads/{upload_id:str}/commit", status_code=200)
async def commit_upload(backend: Backend, caller: Caller, upload_id: str, data: Commit) -> TaskUploadReply:
    """Make the batches of an upload a taskset's next revision."""
    asked = task_uploads.CommitRequest(**msgspec.structs.asdict(data))
    return await task_uploads.commit(backend, caller, ids.parse(upload_id, "upload"), asked)


routes: list[Any] = [
    list_tasksets,
    find_taskset,
    read_taskset,
    create_taskset,
    export_taskset,
    read_signatures,
    read_rows,
    list_revisions,
    roll_back_taskset,
    upload_tasks,
    put_batch,
    commit_upload,
]
