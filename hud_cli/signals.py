"""SIGTERM as an orderly end: cleanup runs, then the command exits with 143."""

from __future__ import annotations

import signal

__all__ = ["exit_on_sigterm"]


def exit_on_sigterm() -> None:
    """From here on SIGTERM unwinds the command as Ctrl-C does, for one that has something to stop or remove."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(*_: object) -> None:
    raise SystemExit(143)
