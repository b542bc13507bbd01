"""A build's log for people: on a terminal its steps with their times, in a pipe every line."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from hud_cli import output

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.status import Status

    from hud.platform.records import BuildFrame

__all__ = ["BuildView"]

_DONE = re.compile(r"DONE(?: (\d+\.\d+s))?")
# Sequences that terminals act on, whole, and then what else they would act on.
_CONTROL = re.compile(
    r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_KEPT_LINES = 20


class BuildView:
    """Shows the frames of one build on stderr.

    Args:
        verbose: Show what steps print on a terminal too; without it, that of a step which fails.
        say: Takes each line instead: nothing moves then, and everything is shown.
    """

    def __init__(self, *, verbose: bool = False, say: Callable[[str], None] | None = None) -> None:
        self._is_live = say is None and output.is_terminal()
        self._shows_output = verbose or not self._is_live
        self._note = say or output.note
        self._stream = "stderr" if say is None else "stdout"
        self._status: Status | None = None
        self._step: str | None = None
        self._last: dict[str, deque[str]] = {}

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
            step = None if frame.step is None else shown(frame.step)
            for line in frame.message.rstrip().split("\n"):
                self._line(shown(line), step)
        elif frame.type in ("status", "complete") and frame.message:
            message = shown(frame.message)
            self._say(self._painted(message, "bold"))
            self._step = None
            if frame.type == "status":
                self._working(message)
        elif frame.type == "status_update" and frame.status not in (None, "IN_PROGRESS"):
            self._step = None
        elif frame.type == "error" and frame.error:
            self._say(self._painted(shown(frame.error), "red"))

    def _line(self, line: str, step: str | None) -> None:
        if not step:
            # The public service sends what BuildKit prints, numbers and all.
            if self._shows_output or line.startswith("#"):
                self._say(line)
            return
        if step != self._step:
            self._step = step
            self._working(step)
            if not self._is_live:
                self._say(step)
        if line.startswith(step.removesuffix("…")):  # the step itself, which is cut short where it is long
            return
        if line in ("CACHED", "CANCELED") or _DONE.fullmatch(line) or line.startswith("ERROR"):
            self._ended(step, line)
        elif self._shows_output:
            self._say(f"  {line}")
        else:
            self._last.setdefault(step, deque(maxlen=_KEPT_LINES)).append(line)

    def _ended(self, step: str, how: str) -> None:
        last = self._last.pop(step, ())
        if not self._is_live:
            self._say(f"  {how}")
            return
        done = _DONE.fullmatch(how)
        took = (done[1] or "") if done else how.lower() if how == "CACHED" else how
        if how.startswith("ERROR"):
            for line in last:
                self._say(f"  {line}")
        mark = output.painted("✗", "red") if how.startswith("ERROR") else output.painted("✓", "green")
        self._say(f"{mark} {step}  {output.painted(took, 'dim')}".rstrip())

    def _painted(self, text: str, style: str) -> str:
        return output.painted(text, style, stream=self._stream)

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
            self._note(line)
            return
        from rich.text import Text

        self._status.console.print(Text.from_ansi(line), soft_wrap=True)


def shown(text: str) -> str:
    """Give text that moves no cursor and rings no bell, whatever a build prints."""
    return _CONTROL.sub("", text)
