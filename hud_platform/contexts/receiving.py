"""Bodies of any length that are worked on while they arrive: flat in memory, and as fast as disk and digest allow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hud.errors import UsageError
from hud.eval.runtimes.teardown import completed
from hud_platform.web.refusals import TooLarge

if TYPE_CHECKING:
    from litestar import Request

__all__ = ["ConnectionCut", "receive"]

_BATCH_BYTES = 2 * 2**20  # a hop to a thread for every part that a socket gives would cost more than the work
_BATCH_PARTS = 1024  # parts of one byte each take forty times their size


class ConnectionCut(UsageError):
    """The client left before the end of its request, so nobody reads this."""


async def receive(request: Request[Any, Any, Any], work: Callable[[list[bytes]], None], *, limit_bytes: int) -> int:
    """Give a request's body to `work`, which runs in a thread on some parts while the next ones arrive.

    Calls of `work` are in order, one at a time, and over when this returns or raises. Of a body that is cut off,
    `work` gets what arrived.

    Returns:
        How many bytes there were.

    Raises:
        TooLarge: there are more than the limit, or the request says that there will be.
        ConnectionCut: the client left before the end.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    worker = _Worker(work)
    try:
        return await _receive(request, worker, limit_bytes)
    finally:
        await worker.finish()


async def _receive(request: Request[Any, Any, Any], worker: _Worker, limit_bytes: int) -> int:
    parts: list[bytes] = []
    size = total = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            await worker.give(parts)
            raise ConnectionCut(f"the connection was cut after {total} bytes")
        part = message["body"]
        parts.append(part)
        size += len(part)
        total += len(part)
        if total > limit_bytes:
            raise _too_large(limit_bytes)
        is_last = not message.get("more_body", False)
        if is_last or size >= _BATCH_BYTES or len(parts) >= _BATCH_PARTS:
            await worker.give(parts)
            parts, size = [], 0
        if is_last:
            await worker.finish()
            return total


class _Worker:
    """Runs `work` in a thread, one call at a time, and leaves none behind."""

    def __init__(self, work: Callable[[list[bytes]], None]) -> None:
        self._work = work
        self._running: asyncio.Task[None] | None = None

    async def give(self, parts: list[bytes]) -> None:
        await self.finish()
        self._running = asyncio.create_task(asyncio.to_thread(self._work, parts))

    async def finish(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await completed(_ended(running))


async def _ended(task: asyncio.Task[None]) -> None:
    await task


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"the request's body is larger than the {limit_bytes} bytes that this platform takes",
        hint="leave out what the build does not need, with .dockerignore",
    )
