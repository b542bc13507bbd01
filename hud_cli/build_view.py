"""A build's log for people: on a terminal its steps with their times, in a pipe every line."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from hud_cli import output

if TYPE_CHECKING:
    from types import TracebackType

    from rich.status import Status

    from hud.platform.records import BuildFrame

__all__ = ["BuildView"]

_DONE = re.compile(r"DONE(?: (\d+\.\d+s))?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|\x1b\[[0-9;?]*[ -/]*[@-~]")


class BuildView:
    """Shows the frames of one build on stderr.

    Args:
        verbose: Show what steps print on a terminal too.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._is_live = output.is_terminal()
        self._shows_output = verbose or not self._is_live
        self._status: Status | None = None
        self._step: str | None = None
        self._begun_s = time.monotonic()

    def __enter__(self) -> BuildView:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, frame: BuildFrame) -> None:
        """Show one frame."""
        if frame.type == "log" and frame.message:
            for line in frame.message.rstrip().split("\n"):
                self._line(shown(line), None if frame.step is None else shown(frame.step))
        elif frame.type in ("status", "complete") and frame.message:
            self._say(output.painted(shown(frame.message), "bold"))
            if frame.type == "status":
                self._working(shown(frame.message))
        elif frame.type == "error" and frame.error:
            self._say(output.painted(shown(frame.error), "red"))

    def _line(self, line: str, step: str | None) -> None:
        if step is None:
            # The public service sends what BuildKit prints, numbers and all.
            if self._shows_output or line.startswith("#"):
                self._say(line)
            return
        if step != self._step:
            self._step, self._begun_s = step, time.monotonic()
            self._working(step)
        if line in ("CACHED", "CANCELED") or _DONE.fullmatch(line) or line.startswith("ERROR"):
            self._ended(step, line)
        elif line == step:
            if not self._is_live:
                self._say(step)
        elif self._shows_output:
            self._say(f"  {line}")

    def _ended(self, step: str, how: str) -> None:
        done = _DONE.fullmatch(how)
        took = (done[1] or "") if done else how.lower() if how == "CACHED" else how
        if self._is_live:
            mark = output.painted("✗", "red") if how.startswith("ERROR") else output.painted("✓", "green")
            self._say(f"{mark} {step}  {output.painted(took, 'dim')}".rstrip())
        else:
            self._say(f"  {how}")

    def _working(self, what: str) -> None:
        if not self._is_live:
            return
        if self._status is None:
            self._status = output.console().status("")
            self._status.start()
        from rich.markup import escape

        self._status.update(escape(what[: max(output.width() - 4, 20)]))

    def _say(self, line: str) -> None:
        if self._status is None:
            output.note(line)
            return
        from rich.text import Text

        self._status.console.print(Text.from_ansi(line), soft_wrap=True)


def shown(text: str) -> str:
    """Give text that moves no cursor and rings no bell, whatever a build prints."""
    return _CONTROL.sub("", text)
