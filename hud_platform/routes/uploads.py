"""Whole context archives: an address to put one at, and the putting, which needs its signature and no key (PA-02)."""

from __future__ import annotations

from typing import Any

from litestar import Request, post, put

from hud.platform.records import BuildTicket
from hud_platform.backend import Backend
from hud_platform.contexts import uploads
from hud_platform.contexts.uploads import Archive
from hud_platform.web import ids

__all__ = ["routes"]


@post("/v2/builds/upload-url", status_code=200)
async def open_ticket(backend: Backend, request: Request[Any, Any, Any]) -> BuildTicket:
    """The id of a build to come, and where to put its archive: on the address by which the client came."""
    return await uploads.open_ticket(backend, backend.config.url or str(request.base_url))


@put("/uploads/{build_id:str}", status_code=200, opt={"open": True})
async def put_archive(
    backend: Backend, request: Request[Any, Any, Any], build_id: str, expires: int, signature: str
) -> Archive:
    """Take the archive of a build."""
    known = ids.parse(build_id, "upload")
    return await uploads.receive(backend, request, known, expires=expires, signature=signature)


routes: list[Any] = [open_ticket, put_archive]
