"""Builds: begin, list, look, cancel, and the log as it is written."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from litestar import WebSocket, get, post, websocket
from litestar.exceptions import WebSocketDisconnect

from hud.errors import NotAuthorisedError, UsageError
from hud.platform.records import ENDED_STATUSES, BuildRequest, BuildStarted, Cancelled
from hud_platform.access.access import bearer, require
from hud_platform.access.keys import Caller
from hud_platform.backend import Backend
from hud_platform.builds import builds
from hud_platform.web import ids
from hud_platform.web.compact import compact
from hud_platform.web.pages import Limit, Listing, Offset

__all__ = ["routes"]

_NOT_ACCESSIBLE = 4003
_CONNECTED = '{"type":"status","message":"Connected to build logs"}'
_LAST_WORDS = {
    "SUCCEEDED": "Build succeeded",
    "FAILED": "Build failed",
    "STOPPED": "Build cancelled",
    "TIMED_OUT": "Build timed out",
}


class ContextBuildRequest(msgspec.Struct, kw_only=True):
    """A build of a context whose blobs are there; the other fields are `BuildRequest`'s."""

    context_digest: str


@post("/v2/builds/trigger", status_code=200)
async def trigger(backend: Backend, caller: Caller, data: BuildRequest) -> BuildStarted:
    """Begin the build of an archive that was uploaded."""
    return await builds.start(backend, caller, data, context_digest=None)


@post("/v2/builds", status_code=200)
async def start(backend: Backend, caller: Caller, body: bytes) -> BuildStarted:
    """Begin the build of a context; `build_id` is the client's own, and the same one again begins nothing."""
    try:
        digest = msgspec.json.decode(body, type=ContextBuildRequest).context_digest
        request = msgspec.json.decode(body, type=BuildRequest)
    except msgspec.DecodeError as error:
        raise UsageError(f"the request is no build request: {error}") from error
    return await builds.start(backend, caller, request, context_digest=digest.lower())


@get("/v2/builds")
async def list_builds(
    backend: Backend,
    registry_id: str | None = None,
    limit: Limit = None,
    offset: Offset = 0,
) -> Listing[dict[str, Any]]:
    """A page of the builds, newest first."""
    async with backend.database.connect() as connection:
        page = await builds.list_records(connection, registry_id=registry_id, limit=limit, offset=offset)
    return Listing(items=[compact(record) for record in page.items], total=page.total)


@get("/v2/builds/{build_id:str}/status")
async def status(backend: Backend, build_id: str) -> dict[str, Any]:
    """The state of a build."""
    return compact(await builds.status(backend, ids.parse(build_id, "build")))


@post("/v2/builds/{build_id:str}/cancel", status_code=200)
async def cancel(backend: Backend, build_id: str) -> Cancelled:
    """Ask a build to stop."""
    return await builds.cancel(backend, ids.parse(build_id, "build"))


@websocket("/v2/builds/{build_id:str}/logs", opt={"open": True})
async def logs(socket: WebSocket[Any, Any, Any], build_id: str) -> None:
    """The log of a build from its start, or from frame `cursor` on, then live to its end (PA-13 to PA-16)."""
    backend: Backend = socket.app.state.backend
    key = bearer(socket) or socket.query_params.get("api_key", "")
    cursor = socket.query_params.get("cursor", "")
    # Servers log the address of a connection that they accept, and this one holds a key (PA-14).
    socket.scope["query_string"] = b""
    await socket.accept()
    with suppress(WebSocketDisconnect):
        try:
            await require(backend, key, "read")
        except NotAuthorisedError as error:
            await socket.close(_NOT_ACCESSIBLE, str(error)[:120])
            return
        if not await builds.exists(backend, build_id):
            await socket.close(_NOT_ACCESSIBLE, "there is no such build")
            return
        await _until_gone(socket, _send(socket, backend, build_id, int(cursor) if cursor.isdecimal() else 0))


async def _send(socket: WebSocket[Any, Any, Any], backend: Backend, build_id: str, cursor: int) -> None:
    known = ids.parse(build_id, "build")
    log = backend.logs.of(known)
    now = await builds.status(backend, known)
    if now.status in ENDED_STATUSES:
        log.end()
    await socket.send_text(_CONNECTED)
    async for frame in log.watch(cursor):
        await socket.send({"type": "websocket.send", "bytes": None, "text": frame})
    ended = await builds.status(backend, known)
    await socket.send_json({"type": "status_update", "status": ended.status})
    complete = {
        "type": "complete",
        "message": _LAST_WORDS.get(ended.status, "Build ended"),
        "final_status": ended.status,
    }
    await socket.send_json(complete)
    await socket.close(1000)


async def _until_gone(socket: WebSocket[Any, Any, Any], sending: Any) -> None:
    """Send until that is done, or until the other side is gone: nobody tells a sender that has nothing to send."""
    tasks = [asyncio.ensure_future(sending), asyncio.ensure_future(_gone(socket))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(socket: WebSocket[Any, Any, Any]) -> None:
    with suppress(WebSocketDisconnect):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass


routes: list[Any] = [trigger, start, list_builds, status, cancel, logs]
