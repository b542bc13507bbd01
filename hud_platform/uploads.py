"""Whole context archives, of the public flow: a signed address to put one at, and whether it came."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from hud.errors import NotAuthorisedError, UsageError
from hud.platform.records import BuildTicket
from hud_platform.refusals import Conflict, Forbidden, TooLarge
from hud_platform.tables import builds, uploads
from hud_platform.times import now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.backend import Backend

__all__ = ["completed", "open_ticket", "receive"]

_GOOD_FOR_S = 6 * 3600


async def open_ticket(backend: Backend, base_url: str) -> BuildTicket:
    """Give the id of a build to come and the address, signed and good for hours, that takes its archive.

    Args:
        base_url: The address by which the client reached this platform.
    """
    build_id = uuid.uuid4()
    async with backend.database.begin() as connection:
        await connection.execute(uploads.insert().values(build_id=build_id, created_at=now()))
    expires = int(time.time()) + _GOOD_FOR_S
    signature = backend.vault.sign(_signed(build_id, expires))
    url = f"{base_url.rstrip('/')}/uploads/{build_id}?expires={expires}&signature={signature}"
    return BuildTicket(build_id=str(build_id), upload_url=url)


async def receive(
    backend: Backend,
    build_id: uuid.UUID,
    parts: AsyncIterator[bytes],
    *,
    expires: int,
    signature: str,
    size_bytes: int | None,
) -> None:
    """Take an archive; another one before its build begins replaces it.

    Args:
        size_bytes: What the client said it would send.

    Raises:
        NotAuthorisedError: the address was not signed here.
        Forbidden: it is too old.
        Conflict: its build has begun.
        TooLarge: it is larger than a context may be.
        UsageError: the client left before its end; nothing is kept.
    """
    if not hmac.compare_digest(signature.encode(), backend.vault.sign(_signed(build_id, expires)).encode()):
        raise NotAuthorisedError("this upload address was not made here, or was changed")
    if expires < time.time():
        raise Forbidden("this upload address has expired", hint="ask for another: POST /v2/builds/upload-url")
    if await backend.reader.one(select(builds.c.id).where(builds.c.id == build_id)) is not None:
        raise Conflict(f"build {build_id} has begun; its archive stays as it is", hint="deploy again")
    limit = backend.config.upload_limit_bytes
    target = backend.data.uploads / f"{build_id}.tar.gz"
    beside = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    digest, received = hashlib.sha256(), 0
    try:
        with beside.open("xb", buffering=0) as file:

            def keep(content: bytes) -> None:
                digest.update(content)
                left = memoryview(content)
                while left:
                    left = left[os.write(file.fileno(), left) :]

            async for part in parts:
                received += len(part)
                if received > limit:
                    raise TooLarge(f"the context archive is larger than {limit} bytes")
                await asyncio.to_thread(keep, part)
        if size_bytes is not None and received != size_bytes:
            raise UsageError(f"the upload ended after {received} of {size_bytes} bytes", hint="send it again")
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    backend.metrics.uploaded_bytes.labels("archives").inc(received)
    done = {"completed_at": now(), "size_bytes": received, "sha256": digest.hexdigest()}
    async with backend.database.begin() as connection:
        await connection.execute(update(uploads).where(uploads.c.build_id == build_id).values(**done))


async def completed(connection: AsyncConnection, build_id: uuid.UUID) -> bool:
    """Whether a build's archive is there, whole (PA-18)."""
    wanted = select(uploads.c.completed_at).where(uploads.c.build_id == build_id)
    return await connection.scalar(wanted) is not None


def _signed(build_id: uuid.UUID, expires: int) -> str:
    return f"upload {build_id} {expires}"
