"""Blocking work in a thread that a cancellation ends before it goes on: two at once would write into one folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["GivenUp", "Stop", "in_thread"]

R = TypeVar("R")


class GivenUp(Exception):
    """Whoever waited for the work was cancelled."""


class Stop:
    """Tells work in a thread that nobody waits for it any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def check(self) -> None:
        """Go on, or end here.

        Raises:
            GivenUp: nobody waits.
        """
        if self._event.is_set():
            raise GivenUp


async def in_thread(work: Callable[[Stop], R]) -> R:
    """Run blocking work and give its result; cancelled, wait until it has noticed."""
    stop = Stop()
    running = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # looked at, so that nobody is told of it
        raise
