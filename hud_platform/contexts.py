"""Contexts that arrive as a manifest and the chunks that were missing."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from hud.context import manifest as manifests
from hud.context.manifest import Manifest
from hud.errors import NotFoundError
from hud.platform.records import ContextState
from hud_platform.refusals import TooLarge
from hud_platform.tables import contexts
from hud_platform.times import now

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["add", "load", "missing", "state", "touch"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


async def add(backend: Backend, content: bytes) -> ContextState:
    """Keep a manifest and say which of its chunks are missing; the same one again changes nothing.

    Raises:
        UsageError: no folder can hold what it lists (PA-17).
        TooLarge: its files are larger than a context may be.
    """
    manifest = await asyncio.to_thread(manifests.decode, content)
    limit = backend.config.upload_limit_bytes
    if manifest.size_bytes > limit:
        raise TooLarge(
            f"the context has {manifest.size_bytes} bytes; at most {limit}",
            hint="leave large files out in .dockerignore, or raise HUD_PLATFORM_UPLOAD_LIMIT_BYTES",
        )
    await asyncio.to_thread(backend.blobs.put_verified, manifest.digest, content, kind="manifest")
    try:
        async with backend.database.begin() as connection:
            seen = update(contexts).where(contexts.c.digest == manifest.digest).values(used_at=now())
            if (await connection.execute(seen)).rowcount == 0:
                time = now()
                await connection.execute(
                    contexts.insert().values(
                        digest=manifest.digest,
                        files=len(manifest.files),
                        size_bytes=manifest.size_bytes,
                        created_at=time,
                        used_at=time,
                    )
                )
    except IntegrityError:  # the same manifest came twice at once
        pass
    return await _state(backend, manifest)


async def state(backend: Backend, digest: str) -> ContextState:
    """Say which chunks of a known context are missing.

    Raises:
        NotFoundError: its manifest is not known.
    """
    await touch(backend, digest)
    return await _state(backend, await load(backend, digest))


async def missing(backend: Backend, digest: str) -> list[str]:
    """Give the chunks that a known context lacks.

    Raises:
        NotFoundError: its manifest is not known.
    """
    return (await state(backend, digest)).missing


async def load(backend: Backend, digest: str) -> Manifest:
    """Give the manifest of a known context.

    Raises:
        NotFoundError: it is not known.
    """

    def read() -> Manifest:
        return manifests.decode(backend.blobs.read(digest, kind="manifest"))

    return await asyncio.to_thread(read)


async def touch(backend: Backend, digest: str) -> None:
    """Note that a context is in use, so that `gc` keeps it.

    Raises:
        NotFoundError: it is not known.
    """
    known = None
    if _DIGEST.fullmatch(digest):
        known = await backend.reader.one(select(contexts.c.used_at).where(contexts.c.digest == digest))
    if known is None:
        raise NotFoundError(f"no context has the digest {digest[:80]!r}", hint="send its manifest: POST /v2/contexts")
    async with backend.database.begin() as connection:
        await connection.execute(update(contexts).where(contexts.c.digest == digest).values(used_at=now()))


async def _state(backend: Backend, manifest: Manifest) -> ContextState:
    digests = list(manifest.chunk_sizes)
    return ContextState(digest=manifest.digest, missing=await asyncio.to_thread(backend.blobs.missing, digests))
