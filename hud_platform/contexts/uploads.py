"""Whole context archives, of the public flow: a signed address to put one at, and whether it came."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from sqlalchemy import select, update

from hud.errors import NotFoundError
from hud.platform.records import BuildTicket
from hud_platform.contexts import receiving
from hud_platform.storage.tables import builds, uploads
from hud_platform.web.refusals import Conflict, Forbidden
from hud_platform.web.times import now

if TYPE_CHECKING:
    from litestar import Request
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.backend import Backend

__all__ = ["Archive", "completed", "open_ticket", "receive"]

_GOOD_FOR_S = 6 * 3600
_ANOTHER = "ask for another: POST /v2/builds/upload-url"


class Archive(msgspec.Struct, kw_only=True):
    """What arrived."""

    build_id: str
    size_bytes: int
    sha256: str


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
    backend: Backend, request: Request[Any, Any, Any], build_id: uuid.UUID, *, expires: int, signature: str
) -> Archive:
    """Take an archive; another one before its build begins replaces it.

    Raises:
        Forbidden: the address was not signed here, or is too old.
        NotFoundError: nobody waits for it any more.
        Conflict: its build has begun.
        TooLarge: it is larger than a context may be.
        ConnectionCut: the client left before its end; what was there before stays.
    """
    if not hmac.compare_digest(signature.encode(), backend.vault.sign(_signed(build_id, expires)).encode()):
        raise Forbidden("this upload address was not made here, or was changed", hint=_ANOTHER)
    if expires < time.time():
        raise Forbidden("this upload address has expired", hint=_ANOTHER)
    async with backend.database.connect() as connection:
        await _refuse_late(connection, build_id)
    target = backend.data.uploads / f"{build_id}.tar.gz"
    with _beside(target) as (path, file):
        digest = hashlib.sha256()

        def keep(parts: list[bytes]) -> None:
            for part in parts:
                digest.update(part)
                file.write(part)

        size_bytes = await receiving.receive(request, keep, limit_bytes=backend.config.upload_limit_bytes)
        file.flush()
        archive = Archive(build_id=str(build_id), size_bytes=size_bytes, sha256=digest.hexdigest())
        async with backend.database.begin() as connection:
            # Again, and in the transaction: a build that begins meanwhile keeps the archive that it began with.
            await _refuse_late(connection, build_id)
            done = {"completed_at": now(), "size_bytes": size_bytes, "sha256": archive.sha256}
            await connection.execute(update(uploads).where(uploads.c.build_id == build_id).values(**done))
            os.replace(path, target)
    backend.metrics.uploaded_bytes.labels("archives").inc(size_bytes)
    return archive


async def completed(connection: AsyncConnection, build_id: uuid.UUID) -> bool:
    """Whether a build's archive is there, whole (PA-18)."""
    wanted = select(uploads.c.completed_at).where(uploads.c.build_id == build_id)
    return await connection.scalar(wanted) is not None


async def _refuse_late(connection: AsyncConnection, build_id: uuid.UUID) -> None:
    if await connection.scalar(select(builds.c.id).where(builds.c.id == build_id)) is not None:
        raise Conflict(f"build {build_id} has begun, and its archive stays as it is", hint="deploy again")
    if await connection.scalar(select(uploads.c.build_id).where(uploads.c.build_id == build_id)) is None:
        raise NotFoundError(f"no archive is expected for build {build_id} any more", hint=_ANOTHER)


@contextmanager
def _beside(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Give a new file beside `target`, to be renamed; it is gone at the end if it was not."""
    path = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as opened:
            yield path, opened
    finally:
        path.unlink(missing_ok=True)


def _signed(build_id: uuid.UUID, expires: int) -> str:
    return f"upload {build_id} {expires}"
