"""Child processes whose output is read as it comes, and that end when they are told to, or when this process dies."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from hud.eval.runtimes.lifeline import kill_group
from hud.eval.runtimes.teardown import completed

__all__ = ["Child", "running"]

_CHUNK_BYTES = 256 * 1024
_END_S = 5.0  # in which the Docker client tells the engine that it gives up
_LAST_OUTPUT_S = 1.0
_PR_SET_PDEATHSIG = 1


class Child:
    """A process with its standard output and error in one stream."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give what it prints, in pieces as they are read, until it closes its output."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(_CHUNK_BYTES):
            yield chunk

    async def exit_code(self) -> int:
        """Wait for its end."""
        return await self._process.wait()


@asynccontextmanager
async def running(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run a command in a process group of its own, with nothing to read; leaving ends the whole group.

    On Linux it is killed when this process dies, whatever kills that; elsewhere it goes on to its own end.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        cwd=cwd,
        env=None if env is None else dict(env),
        limit=_CHUNK_BYTES,
        preexec_fn=_die_with_parent(),
    )
    try:
        yield Child(process)
    finally:
        await completed(_end(process))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await process.wait()
    kill_group(process.pid)
    await process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    # Loaded here: between fork and exec, in a process of many threads, nothing may be that takes a lock.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could be asked for
            os._exit(1)

    return ask
