"""End a process that served one rollout without taking the interpreter apart, which costs more than the rollout."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["end_group", "end_process"]


def end_process(code: int, *, forked: bool = False, group: Callable[[], bool] = bool) -> NoReturn:
    """Write out what open files still hold, and end.

    Args:
        forked: Exit handlers were registered for the parent and are left to it; otherwise they run.
        group: Asked at last whether what this process started is to end with it; see `end_group`.
    """
    try:
        if not forked:
            atexit._run_exitfuncs()
        # The parent's files are in the collector's frozen generation and so not among these: flushing them here
        # would write what they hold twice.
        for item in gc.get_objects():
            if isinstance(item, io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom) and not item.closed:
                _flush(item)
        _flush(sys.stdout)
        _flush(sys.stderr)
    finally:
        if group():
            end_group()
        os._exit(code)


def end_group() -> None:
    """Kill this process and what it started, when it leads a process group: what is started is in that."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def _flush(file: Any) -> None:
    try:
        file.flush()
    except (OSError, ValueError, AttributeError):
        pass  # a closed pipe or a full disk: nobody is left to be told
