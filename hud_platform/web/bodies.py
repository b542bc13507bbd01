"""Bodies of requests that are too large for memory: kept in a file without a name, which goes with the process."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hud_platform.web.refusals import TooLarge

if TYPE_CHECKING:
    from litestar import Request

    from hud_platform.tasksets.task_rows import Buffer

__all__ = ["spooled"]


@asynccontextmanager
async def spooled(request: Request[Any, Any, Any], folder: Path, *, limit_bytes: int) -> AsyncIterator[Buffer]:
    """Receive a body and give it as a buffer that costs no memory of its own.

    Raises:
        TooLarge: it is longer than the limit.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        size_bytes = 0
        async for chunk in request.stream():
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise TooLarge(f"the request's body is larger than the {limit_bytes} bytes that this route takes")
            file.write(chunk)
        file.flush()
        # Not closed by hand: rows that were split off refer to it, and it goes with the last of them.
        yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size_bytes else b""
