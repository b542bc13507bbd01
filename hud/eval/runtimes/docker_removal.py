"""Remove containers behind the rollouts that used them, and leave none when the interpreter exits."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from hud.errors import HudError
from hud.eval.runtimes.docker_containers import remove
from hud.eval.runtimes.docker_launch import Started

__all__ = ["Removals"]

_AT_ONCE = 4
_TOO_MANY = 16

_log = logging.getLogger("hud.docker")
_removing = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hud-docker-remove")
_expected: dict[str, int] = {}
"""The containers that may exist and the process that wants them gone at its exit."""


class Removals:
    """The containers of one runtime that are on their way out.

    The threads are the interpreter's: its exit waits for what they have been given.
    """

    def __init__(self) -> None:
        self._pending: set[Future[None]] = set()

    def expect(self, name: str) -> None:
        """Note that a container of this name may come to exist."""
        if not _expected:
            atexit.unregister(_remove_expected)
            atexit.register(_remove_expected)
        _expected[name] = os.getpid()

    def add(self, name: str, *, after: Future[Started]) -> Future[None]:
        """Remove a container once nothing is being done any more to make it."""
        removal: Future[None] = Future()
        removal.set_running_or_notify_cancel()  # whoever waits for it may be cancelled, it may not
        self._pending.add(removal)
        removal.add_done_callback(self._pending.discard)

        def begin(launched: Future[Started]) -> None:
            if launched.cancelled():  # it never left the queue
                _expected.pop(name, None)
                removal.set_result(None)
                return
            try:
                _removing.submit(_remove, name, removal)
            except RuntimeError:  # the interpreter is going: its threads take nothing new, but this one still runs
                _remove(name, removal)

        after.add_done_callback(begin)
        return removal

    async def not_too_many(self) -> None:
        """Wait while many are under way: containers must not pile up faster than they go."""
        while len(self._pending) >= _TOO_MANY:
            await self.settled(self._pending, return_when=asyncio.FIRST_COMPLETED)

    async def drained(self) -> None:
        """Wait until all are gone."""
        while self._pending:
            await self.settled(self._pending)

    async def settled(self, removals: Iterable[Future[None]], *, return_when: str = asyncio.ALL_COMPLETED) -> None:
        """Wait for removals; giving up the wait does not give them up."""
        waiting = [asyncio.wrap_future(removal) for removal in tuple(removals)]
        try:
            if waiting:
                await asyncio.wait(waiting, return_when=return_when)
        finally:
            # Left alone, they would want to tell a loop that may be closed by then.
            for future in waiting:
                future.cancel()


def _remove(name: str, removal: Future[None]) -> None:
    try:
        _remove_or_tell(name)
    finally:
        _expected.pop(name, None)
        removal.set_result(None)


def _remove_or_tell(name: str) -> None:
    try:
        remove(name)
    except HudError as error:
        _log.warning("container %s is left: %s; `hud cleanup` removes it", name, error)


def _remove_expected() -> None:
    """For an event loop that was stopped without being closed; a forked child leaves its parent's alone."""
    for name, pid in tuple(_expected.items()):
        if pid == os.getpid():
            _remove_or_tell(name)
