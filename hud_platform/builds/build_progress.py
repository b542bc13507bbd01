"""What `docker build --progress=plain` prints, read as steps and their lines.

A step begins with `#5 [2/4] RUN pip install .`; everything of it carries its number: `#5 0.123 text` is output, and
`#5 CACHED`, `#5 DONE 1.2s`, `#5 CANCELED` or `#5 ERROR: …` is its end. Steps that run at the same time take turns.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

from hud_platform.builds.masking import Masker

__all__ = ["LONGEST_LINE_BYTES", "Lines", "Progress", "ProgressLine"]

LONGEST_LINE_BYTES = 32 * 1024
"""Where a line is broken that has no end."""

_LAST_LINES = 12
_LONGEST_NAME = 200  # a step's name is its command, which every frame of its output repeats

_NUMBERED = re.compile(r"#(\d+) (.*)", re.DOTALL)
_OUTPUT = re.compile(r"\d+\.\d+ ?(.*)", re.DOTALL)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENDED = re.compile(r"(?:CACHED|CANCELED|DONE(?: \d+\.\d+s)?|ERROR.*)", re.DOTALL)
_COMMAND_AGAIN = re.compile(
    r"(?:executor failed running \[.*\]|process \".*\" did not complete successfully): (?=exit code: \d+$)", re.DOTALL
)


class Lines:
    """Bytes that arrive in pieces, as masked lines; an endless one is broken, but not within a secret.

    A carriage return begins its line again, as on a terminal.
    """

    def __init__(self, masker: Masker, *, longest_line_bytes: int = LONGEST_LINE_BYTES) -> None:
        self._masker = masker
        self._longest_bytes = longest_line_bytes
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """Give the lines that are complete now."""
        whole, newline, rest = chunk.rpartition(b"\n")
        lines: list[str] = []
        if newline:
            text = (self._rest + whole).decode(errors="replace")
            lines = [_shown(line) for line in self._masker.mask(text).split("\n")]
            self._rest = rest
        else:
            self._rest += chunk
        while len(self._rest) > self._longest_bytes and (cut := self._cut()) is not None:
            lines.append(cut)
        return lines

    def end(self) -> list[str]:
        """Give the last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return [_shown(self._masker.mask(rest.decode(errors="replace")))] if rest else []

    def _cut(self) -> str | None:
        # A character may be cut in two at the end, but not at the start: the rest begins where the last cut was.
        text = self._rest.decode(errors="surrogateescape")
        at = self._masker.safe_cut(text)
        if at == 0:
            return None
        head = text[:at].encode(errors="surrogateescape")
        self._rest = self._rest[len(head) :]
        return _shown(self._masker.mask(head.decode(errors="replace")))


def _shown(line: str) -> str:
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part), "")


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """One line of a build.

    Attributes:
        step: The step it belongs to, such as `[2/4] RUN pip install .`; None for what belongs to none.
        text: What is shown: a step's name at its begin, its output without number and time, how it ended.
        kind: `begin` or `end` of a step, of which there are few; `output` anything else.
    """

    step: str | None
    text: str
    kind: Literal["begin", "output", "end"]


class Progress:
    """Reads the lines of one build.

    Attributes:
        failed_step: The step that ended in an error, if one did.
        error: What the client said of it.
    """

    def __init__(self) -> None:
        self._steps: dict[str, str] = {}
        self._last: dict[str | None, deque[str]] = {}
        self.failed_step: str | None = None
        self.error: str | None = None

    def read(self, line: str) -> ProgressLine | None:
        """Give what a line says, or None when there is nothing to show."""
        if not line or line.isspace():
            return None
        numbered = _NUMBERED.match(line)
        if numbered is None:
            return self._unnumbered(line)
        number, said = numbered.groups()
        step = self._steps.get(number)
        if step is None:
            if _DIGEST.fullmatch(said):
                return None
            step = self._steps[number] = _name(said)
            return ProgressLine(step, step, "begin")
        output = _OUTPUT.match(said)
        if output is not None:
            text = output[1].rstrip()
            self._note(step, text)
            return ProgressLine(step, text, "output") if text else None
        if said == "..." or _name(said) == step or _DIGEST.fullmatch(said):
            return None  # a step is named again when it goes on after another's lines
        if _ENDED.fullmatch(said):
            if said.startswith("ERROR"):
                said = _COMMAND_AGAIN.sub("", said)
                self.failed_step, self.error = step, said.removeprefix("ERROR").lstrip(": ")
            return ProgressLine(step, said, "end")
        return ProgressLine(step, said.rstrip(), "output")

    def _unnumbered(self, line: str) -> ProgressLine:
        text = line.rstrip()
        self._note(None, text)
        return ProgressLine(None, text, "output")

    def _note(self, step: str | None, text: str) -> None:
        last = self._last.get(step)
        if last is None:
            last = self._last[step] = deque(maxlen=_LAST_LINES)
        last.append(text)

    def last_lines(self, step: str | None) -> list[str]:
        """Give the last lines of output of a step; of None, what the client printed for itself."""
        return [line for line in self._last.get(step, ()) if line]


def _name(said: str) -> str:
    """Give a step's name: on one line, without the indents of its continuation lines, cut short where it is long."""
    name = " ".join(said.split())
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
