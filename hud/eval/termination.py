"""SIGTERM during a job: what was started is removed before the process ends with 143."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["sigterm_cancels"]


class _Termination:
    """The jobs of one event loop that SIGTERM cancels."""

    def __init__(self) -> None:
        self.jobs: list[asyncio.Task[object]] = []
        self.received = False

    def cancel(self) -> None:
        self.received = True
        for job in self.jobs:
            job.cancel()


_loops: dict[asyncio.AbstractEventLoop, _Termination] = {}
"""The loops in which jobs run now; a loop is here no longer than its first to last job."""


@contextmanager
def sigterm_cancels() -> Iterator[None]:
    """Let SIGTERM cancel the running call, so that everything it started is removed, and then end the process.

    A program that has a handler of its own keeps it.

    Raises:
        SystemExit: with 143, after SIGTERM, once the call is over.
    """
    job = asyncio.current_task()
    loop = asyncio.get_running_loop()
    termination = _loops.get(loop)
    if termination is None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            yield
            return
        termination = _loops[loop] = _Termination()
        loop.add_signal_handler(signal.SIGTERM, termination.cancel)
    if job is None:
        yield
        return
    termination.jobs.append(job)
    try:
        yield
    except asyncio.CancelledError:
        if not termination.received:
            raise
    finally:
        termination.jobs.remove(job)
        if not termination.jobs:
            del _loops[loop]
            loop.remove_signal_handler(signal.SIGTERM)
    if termination.received:
        raise SystemExit(143)
