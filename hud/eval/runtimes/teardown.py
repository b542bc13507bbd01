"""Endings that nothing cuts short: those that go on behind the rollouts they belong to, and those that are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from hud.errors import UsageError

__all__ = ["Teardown", "completed"]


async def completed(ending: Coroutine[Any, Any, None]) -> None:
    """Await an ending to its end, whatever happens to the caller; a cancellation goes on afterwards.

    An ending is to limit its own time.
    """
    task = asyncio.ensure_future(ending)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    task.result()


class Teardown:
    """Counts the users of a provider; the last to leave waits for all endings, and closes what they shared.

    Args:
        begin: Makes what the users share on one event loop, before the first of them.
        close: Ends it, unless `users` came again meanwhile.

    Attributes:
        users: How many there are.
    """

    def __init__(
        self, *, begin: Callable[[], None] | None = None, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._begin = begin
        self._close = close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self.users = 0

    def later(self, ending: Coroutine[Any, Any, None]) -> None:
        """Let an ending go on by itself."""
        task = asyncio.ensure_future(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def enter(self) -> None:
        """Count one more user.

        Raises:
            UsageError: another event loop is at it.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None and self._loop.is_running():
                raise UsageError("a runtime serves one event loop at a time", hint="make one for each thread")
            self._loop, self.users = loop, 0  # the last loop may have ended before its users did
            self._endings.clear()
            if self._begin is not None:
                self._begin()
        self.users += 1

    async def leave(self) -> None:
        """Count one user less; the last waits for the endings, also when it is cancelled meanwhile."""
        self.users -= 1
        if not self.users:
            await completed(self._end())

    @asynccontextmanager
    async def user(self) -> AsyncIterator[None]:
        """Be a user for a while."""
        self.enter()
        try:
            yield
        finally:
            await self.leave()

    async def _end(self) -> None:
        try:
            while self._endings and not self.users:
                await asyncio.wait(self._endings)
        finally:  # also when the event loop is ending, which cancels every task
            if self._close is not None and not self.users:
                await self._close()
