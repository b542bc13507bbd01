"""Contexts by content: which chunks of a manifest are missing, and the chunks themselves (an extension)."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post

from hud.platform.records import ContextState
from hud_platform import blob_intake, contexts
from hud_platform.backend import Backend
from hud_platform.blob_intake import Stored
from hud_platform.bodies import in_parts

__all__ = ["routes"]

_MANIFEST_LIMIT_BYTES = 256 * 2**20


@get("/v2/contexts/{digest:str}")
async def get_context(backend: Backend, digest: str) -> ContextState:
    """Which chunks of a known context are missing."""
    return await contexts.state(backend, digest)


@post("/v2/contexts", status_code=200, request_max_body_size=_MANIFEST_LIMIT_BYTES)
async def post_context(backend: Backend, body: bytes) -> ContextState:
    """Keep a manifest, and say which of its chunks are missing."""
    return await contexts.add(backend, body)


@post("/v2/blobs", status_code=200, request_max_body_size=None)
async def post_blobs(backend: Backend, request: Request[Any, Any, Any]) -> Stored:
    """Store the chunks of a pack."""
    stored = await blob_intake.receive(backend.blobs, in_parts(request))
    backend.metrics.uploaded_bytes.labels("blobs").inc(stored.bytes)
    return stored


routes = [get_context, post_context, post_blobs]
