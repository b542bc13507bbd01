"""Bodies of requests that are too large for memory: given in parts, or kept in a file that goes with the process."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litestar.exceptions import InternalServerException

from hud.errors import UsageError
from hud_platform.refusals import TooLarge

if TYPE_CHECKING:
    from litestar import Request

    from hud_platform.task_rows import Buffer

__all__ = ["in_parts", "spooled"]

_PART_BYTES = 4 * 2**20


@asynccontextmanager
async def spooled(request: Request[Any, Any, Any], folder: Path, *, limit_bytes: int) -> AsyncIterator[Buffer]:
    """Receive a body and give it as a buffer that costs no memory of its own.

    Raises:
        TooLarge: it is longer than the limit.
        UsageError: the client left before its end.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        size_bytes = 0
        async for chunk in _pieces(request):
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise TooLarge(f"the request's body is larger than the {limit_bytes} bytes that this route takes")
            file.write(chunk)
        file.flush()
        # Not closed by hand: rows that were split off refer to it, and it goes with the last of them.
        yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size_bytes else b""


async def in_parts(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """Receive a body in parts of some megabytes, each worth a thread's while.

    Raises:
        UsageError: the client left before its end; what came before was given.
    """
    waiting: list[bytes] = []
    size_bytes = 0
    cut: UsageError | None = None
    pieces = _pieces(request)
    while True:
        try:
            piece = await anext(pieces)
        except StopAsyncIteration:
            break
        except UsageError as error:
            cut = error
            break
        waiting.append(piece)
        size_bytes += len(piece)
        if size_bytes >= _PART_BYTES:
            yield b"".join(waiting)
            waiting, size_bytes = [], 0
    if waiting:
        yield b"".join(waiting)
    if cut is not None:
        raise cut


async def _pieces(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            yield piece
    except InternalServerException as error:  # what Litestar makes of a connection that ended
        raise UsageError("the connection ended before the request did") from error
