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

__all__ = ["BuildView", "shown"]

_DONE = re.compile(r"DONE(?: (\d+\.\d+s))?")
# Sequences that terminals act on, whole, and then what else they would act on.
_CONTROL = re.compile(
    r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_KEPT_LINES = 20
_SPINNER_COLUMNS = 4


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
            self._log(frame, [shown(line) for line in frame.message.rstrip().split("\n")])
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

    def _log(self, frame: BuildFrame, lines: list[str]) -> None:
        if not frame.step:
            # Without numbers it is the public service's log, all there is to see; of ours the end of a step that
            # failed, which was shown by then.
            if self._shows_output or frame.seq is None:
                for line in lines:
                    self._say(line)
            return
        step = shown(frame.step)
        if step != self._step:
            self._step = step
            self._working(step)
            if not self._is_live:
                self._say(step)
        if lines[0] == step:  # a step begins with its name
            del lines[0]
        how = lines.pop() if frame.ended and lines else None
        if self._shows_output:
            for line in lines:
                self._say(f"  {line}")
        else:
            self._last.setdefault(step, deque(maxlen=_KEPT_LINES)).extend(lines)
        if how is not None:
            self._ended(step, how)

    def _ended(self, step: str, how: str) -> None:
        last = self._last.pop(step, ())
        if not self._is_live:
            self._say(f"  {how}")
            return
        if how.startswith("ERROR"):
            for line in last:
                self._say(f"  {line}")
            self._say(f"{output.painted('✗', 'red')} {step}")
            self._say(f"  {output.painted(how, 'red')}")
            return
        done = _DONE.fullmatch(how)
        took = (done[1] or "") if done else how.lower()
        name = _cut(step, output.width() - len(took) - _SPINNER_COLUMNS)
        self._say(f"{output.painted('✓', 'green')} {name}  {output.painted(took, 'dim')}".rstrip())

    def _painted(self, text: str, style: str) -> str:
        return output.painted(text, style, stream=self._stream)

    def _working(self, what: str) -> None:
        if not self._is_live:
            return
        if self._status is None:
            self._status = output.console().status("")
            self._status.start()
        from rich.text import Text

        self._status.update(Text(_cut(what, output.width() - _SPINNER_COLUMNS)))

    def _say(self, line: str) -> None:
        if self._status is None:
            self._note(line)
            return
        from rich.text import Text

        self._status.console.print(Text.from_ansi(line), soft_wrap=True)


def shown(text: str) -> str:
    """Give text that moves no cursor and rings no bell, whatever a build prints."""
    return _CONTROL.sub("", text)


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else text[: columns - 1] + "…"
