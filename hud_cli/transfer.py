"""The bars of hashing and sending a context on a terminal; elsewhere a line where it takes long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hud_cli import output

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

__all__ = ["Transfer"]

_SHOWN_AFTER_S = 0.3
_LINE_EVERY_S = 5.0


class Transfer:
    """Shows how far a context is; what is over in a moment is not shown at all."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun_s = time.monotonic()
        self._line_s = self._begun_s
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Transfer:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def hashing(self, done: int, total: int) -> None:
        self._show("Hashing", done, total)

    def sending(self, done: int, total: int) -> None:
        self._show("Sending", done, total)

    def _show(self, what: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if not output.is_terminal():
            if now_s - self._line_s >= _LINE_EVERY_S:
                self._line_s = now_s
                output.note(f"{what} {self._name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
            return
        if self._progress is None:
            if now_s - self._begun_s < _SHOWN_AFTER_S:
                return
            self._progress = _bars()
            self._progress.start()
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._bars[what], completed=done, total=total)


def _bars() -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=output.console(),
        transient=True,
    )
