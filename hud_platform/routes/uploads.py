"""Whole context archives: an address to put one at, and the putting, which needs its signature and no key (PA-02)."""

from __future__ import annotations

from typing import Any

from litestar import Request, post, put

from hud.platform.records import BuildTicket
from hud_platform import ids, uploads
from hud_platform.backend import Backend
from hud_platform.bodies import in_parts

__all__ = ["routes"]


@post("/v2/builds/upload-url", status_code=200)
async def open_ticket(backend: Backend, request: Request[Any, Any, Any]) -> BuildTicket:
    """The id of a build to come, and where to put its archive."""
    base_url = backend.config.url or str(request.base_url)
    return await uploads.open_ticket(backend, base_url)


@put("/uploads/{build_id:str}", status_code=200, request_max_body_size=None, opt={"open": True})
async def put_archive(
    backend: Backend, request: Request[Any, Any, Any], build_id: str, expires: int, signature: str
) -> dict[str, bool]:
    """Take the archive of a build."""
    length = request.headers.get("content-length", "")
    await uploads.receive(
        backend,
        ids.parse(build_id, "upload"),
        in_parts(request),
        expires=expires,
        signature=signature,
        size_bytes=int(length) if length.isdecimal() else None,
    )
    return {"complete": True}


routes = [open_ticket, put_archive]
