"""What a platform stands on, asked whether it answers now."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from hud.errors import HudError

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["Readiness", "check"]

_ENGINE_TIMEOUT_S = 3
_ENGINE_ASKED_EVERY_S = 5.0
_DATABASE_TIMEOUT_S = 3.0
_BLOBS_TIMEOUT_S = 5.0
_NO_DIGEST = "0" * 64
_LEAST_FREE_BYTES = 64 * 2**20

OK = "ok"


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The parts: `ok`, or what is wrong with each. Without an engine all but builds works."""

    status: str
    database: str
    blobs: str
    disk: str
    engine: str


_engine_answer: tuple[float, str] | None = None  # when it was asked, and what came


async def check(backend: Backend) -> Readiness:
    """Ask every part."""
    database, blobs, engine = await asyncio.gather(_database(backend), _blobs(backend), _engine())
    disk = _disk(backend)
    status = "ready" if database == blobs == disk == OK else "not ready"
    return Readiness(status=status, database=database, blobs=blobs, disk=disk, engine=engine)


async def _engine() -> str:
    """Ask the engine at most every five seconds: many probes must not make many connections."""
    global _engine_answer
    if _engine_answer is None or time.monotonic() - _engine_answer[0] >= _ENGINE_ASKED_EVERY_S:
        _engine_answer = (time.monotonic(), await asyncio.to_thread(_ask_engine))
    return _engine_answer[1]


async def _database(backend: Backend) -> str:
    try:
        async with asyncio.timeout(_DATABASE_TIMEOUT_S), backend.database.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except TimeoutError:
        return f"no answer in {_DATABASE_TIMEOUT_S:g} s"
    except (SQLAlchemyError, OSError) as error:
        return str(error).partition("\n")[0]
    return OK


async def _blobs(backend: Backend) -> str:
    """Ask for a blob that nobody has: a store that answers says so."""
    try:
        async with asyncio.timeout(_BLOBS_TIMEOUT_S):
            await asyncio.to_thread(backend.blobs.manifest, _NO_DIGEST)
    except TimeoutError:
        return f"no answer in {_BLOBS_TIMEOUT_S:g} s"
    except (HudError, OSError) as error:
        return str(error).partition("\n")[0]
    return OK


def _disk(backend: Backend) -> str:
    root = backend.data.root
    try:
        free_bytes = shutil.disk_usage(root).free
    except OSError as error:
        return f"{root}: {error.strerror}"
    if not os.access(root, os.W_OK):
        return f"{root} cannot be written"
    if free_bytes < _LEAST_FREE_BYTES:
        return f"{free_bytes // 2**20} MB are free on {root}"
    return OK


def _ask_engine() -> str:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=_ENGINE_TIMEOUT_S)
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        return f"not reachable: {str(error).partition(chr(10))[0][:200]}"
    return OK
