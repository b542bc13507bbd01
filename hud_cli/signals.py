"""SIGTERM as an orderly end: cleanup runs, then the command exits with 143."""

from __future__ import annotations

# The module behind `signal`, whose wrapping of every number in an enum costs a command more than its own parsing.
import _signal  # type: ignore[import-not-found]

__all__ = ["exit_on_sigterm"]


def exit_on_sigterm() -> None:
    """From here on SIGTERM unwinds the command as Ctrl-C does."""
    _signal.signal(_signal.SIGTERM, _exit)


def _exit(*_: object) -> None:
    raise SystemExit(143)
