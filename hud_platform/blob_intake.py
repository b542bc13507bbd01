"""Receive a pack of chunks: verified and stored as it arrives, so that what came before a cut stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hud.context.pack import Reader

if TYPE_CHECKING:
    from hud_platform.blobs import BlobStore

__all__ = ["Stored", "receive"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How many chunks a pack held, and their bytes."""

    stored: int
    bytes: int


async def receive(blobs: BlobStore, parts: AsyncIterator[bytes]) -> Stored:
    """Store every chunk of a pack; memory for two parts of it and one chunk, whatever its size.

    Raises:
        UsageError: it is no pack, a chunk is not what its digest names, or it ends inside one. Those before it stay.
        Busy: the disk is full.
    """
    reader = Reader()
    size_bytes = 0

    def store(part: bytes) -> None:
        nonlocal size_bytes
        for blob in reader.feed(part):
            blobs.put_verified(blob.digest, blob.content)
            size_bytes += len(blob.content)

    storing: asyncio.Future[None] | None = None
    try:
        async for part in parts:
            # The next part arrives while this one is hashed and written.
            if storing is not None:
                await storing
            storing = asyncio.ensure_future(asyncio.to_thread(store, part))
    finally:
        if storing is not None:
            await storing
    reader.finish()
    return Stored(stored=reader.count, bytes=size_bytes)
