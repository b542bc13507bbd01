"""Contexts by the digest of their manifest: which are known, and which of their chunks are still to come."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from hud.context import manifest as manifests
from hud.context.manifest import Manifest
from hud.errors import NotFoundError, UsageError
from hud.platform.records import ContextState
from hud_platform.contexts.archives import DEEPEST
from hud_platform.storage.database import insert_into
from hud_platform.storage.tables import contexts
from hud_platform.web.refusals import TooLarge
from hud_platform.web.times import aware, now

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["MANIFEST_LIMIT_BYTES", "manifest", "missing", "register", "state", "touch"]

MANIFEST_LIMIT_BYTES = 256 * 2**20
"""A manifest of a million files, which is as many as one may have."""

_DIGEST = re.compile("[0-9a-f]{64}")
_TOUCHED_EVERY = timedelta(minutes=10)


async def register(backend: Backend, content: bytes) -> ContextState:
    """Take a manifest in and say which chunks are to be sent; the same one again is taken in once.

    Raises:
        UsageError: the manifest is not canonical, or no folder can hold what it lists (PA-17).
        TooLarge: its files are larger than a context may be.
    """
    known = await asyncio.to_thread(manifests.decode, content)
    deepest = max((entry.path for entry in known.entries), key=_depth, default="")
    if _depth(deepest) > DEEPEST:
        raise UsageError(
            f"the context has folders in folders to a depth of {_depth(deepest)}, at most {DEEPEST}: {deepest[:60]}…",
            hint="leave them out with .dockerignore",
        )
    limit = backend.config.upload_limit_bytes
    if known.size_bytes > limit:
        raise TooLarge(
            f"the context has {known.size_bytes} bytes, and this platform takes {limit}",
            hint="leave out what the build does not need, with .dockerignore",
        )
    time = now()
    values = {"digest": known.digest, "files": len(known.files), "size_bytes": known.size_bytes}
    async with backend.database.begin() as connection:
        statement = insert_into(connection, contexts).values(**values, created_at=time, used_at=time)
        await connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_={"used_at": time}))
    # After the row: what `gc` removed before it saw the row is missing here, and later it sees the row.
    return ContextState(digest=known.digest, missing=await asyncio.to_thread(_keep, backend, known))


def _depth(path: str) -> int:
    return path.count("/") + 1


def _keep(backend: Backend, known: Manifest) -> list[str]:
    with backend.blobs.using():
        backend.blobs.put_manifest(known.digest, known.encode())
        return backend.blobs.lacking(known.chunk_sizes)


async def state(backend: Backend, digest: str) -> ContextState:
    """Say which chunks of a context are still to be sent.

    Raises:
        NotFoundError: its manifest is not known.
    """
    return ContextState(digest=digest, missing=await missing(backend, digest))


async def missing(backend: Backend, digest: str) -> list[str]:
    """Give the digests of the chunks that a context lacks, in the order in which its files need them.

    Raises:
        NotFoundError: its manifest is not known.
    """
    await touch(backend, digest)
    known = await manifest(backend, digest)
    return await asyncio.to_thread(_lacking, backend, known)


def _lacking(backend: Backend, known: Manifest) -> list[str]:
    with backend.blobs.using():
        return backend.blobs.lacking(known.chunk_sizes)


async def manifest(backend: Backend, digest: str) -> Manifest:
    """Give the manifest of a context.

    Raises:
        NotFoundError: it is not known.
    """
    content = await asyncio.to_thread(backend.blobs.manifest, digest) if _DIGEST.fullmatch(digest) else None
    if content is None:
        raise _unknown(digest)
    return await asyncio.to_thread(manifests.decode, content)


async def touch(backend: Backend, digest: str) -> None:
    """Note that a context is used now, which keeps it from `gc`.

    Raises:
        NotFoundError: its manifest is not known.
    """
    row = await backend.reader.one(select(contexts.c.used_at).where(contexts.c.digest == digest))
    if row is None:
        raise _unknown(digest)
    time = now()
    if time - aware(row.used_at) < _TOUCHED_EVERY:
        return
    async with backend.database.begin() as connection:
        touched = await connection.execute(update(contexts).where(contexts.c.digest == digest).values(used_at=time))
    if not touched.rowcount:
        raise _unknown(digest)


def _unknown(digest: str) -> NotFoundError:
    return NotFoundError(f"no context has the digest {digest[:80]!r}", hint="send its manifest with POST /v2/contexts")
