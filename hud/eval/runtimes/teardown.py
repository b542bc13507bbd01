"""Endings that go on behind the rollouts they belong to, and are waited for when their provider is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["Teardown"]


class Teardown:
    """Counts the users of a provider; the last to leave waits for all endings, and closes what they shared.

    Args:
        close: Ends what the users shared.
    """

    def __init__(self, close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._close = close
        self._users = 0
        self._endings: set[asyncio.Task[None]] = set()

    def later(self, ending: Coroutine[Any, Any, None]) -> None:
        """Let an ending go on by itself."""
        task = asyncio.ensure_future(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def enter(self) -> None:
        """Count one more user."""
        self._users += 1

    async def leave(self) -> None:
        """Count one user less; the last waits for the endings, however its own wait ends."""
        self._users -= 1
        if self._users:
            return
        try:
            while self._endings:
                await asyncio.wait(self._endings)
        finally:
            if self._close is not None:
                await self._close()

    @asynccontextmanager
    async def user(self) -> AsyncIterator[None]:
        """Be a user for a while."""
        self.enter()
        try:
            yield
        finally:
            await self.leave()
