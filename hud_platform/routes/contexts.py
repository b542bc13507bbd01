"""Contexts by digest: the manifest first, then only the chunks that are not there yet."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, get, post

from hud.context import pack
from hud.context.pack import Blob
from hud.platform.records import ContextState
from hud_platform.backend import Backend
from hud_platform.contexts import contexts
from hud_platform.contexts.receiving import receive

__all__ = ["routes"]


class Received(msgspec.Struct, kw_only=True):
    """How many chunks of a pack are kept, and their bytes."""

    stored: int
    bytes: int


@get("/v2/contexts/{digest:str}")
async def read_context(backend: Backend, digest: str) -> ContextState:
    """Which chunks a context lacks."""
    return await contexts.state(backend, digest.lower())


@post("/v2/contexts", status_code=200, request_max_body_size=contexts.MANIFEST_LIMIT_BYTES)
async def register_context(backend: Backend, body: bytes) -> ContextState:
    """Take a manifest in, under the digest of its bytes, and say which chunks are to be sent."""
    return await contexts.register(backend, body)


@post("/v2/blobs", status_code=200)
async def receive_blobs(backend: Backend, request: Request[Any, Any, Any]) -> Received:
    """Keep the chunks of a pack, each as soon as it is complete and verified; what was kept before a fault stays."""
    reader = pack.Reader()
    counted = backend.metrics.uploaded_bytes.labels("blobs")
    received = Received(stored=0, bytes=0)

    def keep(parts: list[bytes]) -> None:
        blobs: list[Blob] = []
        try:
            for part in parts:
                blobs.extend(reader.feed(part))
        finally:  # also those that are complete before one that lies
            backend.blobs.put(blobs)
            size = sum(len(blob.content) for blob in blobs)
            received.stored += len(blobs)
            received.bytes += size
            counted.inc(size)

    await receive(request, keep, limit_bytes=backend.config.upload_limit_bytes)
    reader.finish()
    return received


routes: list[Any] = [read_context, register_context, receive_blobs]
