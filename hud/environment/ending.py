"""End a process that served one rollout without taking the interpreter apart, which costs more than the rollout."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from typing import Any, NoReturn

__all__ = ["end_process"]


def end_process(code: int, *, forked: bool = False) -> NoReturn:
    """Write out what open files still hold, and end.

    Args:
        forked: Exit handlers were registered for the parent and are left to it; otherwise they run.
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
        os._exit(code)


def _flush(file: Any) -> None:
    try:
        file.flush()
    except (OSError, ValueError, AttributeError):
        pass  # a closed pipe or a full disk: nobody is left to be told
