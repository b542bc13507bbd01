"""The one door to stdout and stderr. Nothing else in the project writes there.

Stdout carries data as UTF-8 whatever the locale says; what UTF-8 cannot carry (a lone surrogate) is written as an
escape. Stderr carries words for people. Both are written at once: nothing waits in a buffer for a pipe that may be
closed when the process ends.
"""

from __future__ import annotations

import os
import sys

from hud.errors import HudError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import Console

    from hud.wire import Json

__all__ = [
    "amount",
    "ask",
    "console",
    "data",
    "document",
    "error",
    "has_stdout",
    "is_interactive",
    "is_terminal",
    "keep_stdout",
    "moment",
    "note",
    "painted",
    "read_stdin",
    "table",
    "visible",
    "width",
]

_CODES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}
_data_fd: int | None = 1


def keep_stdout() -> None:
    """Keep stdout for this module: what anything else writes there from now on goes to stderr.

    An environment prints while it is imported, and so do the processes it starts; neither may end up between the
    lines that a caller parses.
    """
    global _data_fd
    if _data_fd != 1:
        return
    # A stream that was closed at the start would give its number to the next socket, and children write to numbers.
    closed = [descriptor for descriptor in (0, 1, 2) if not _is_open(descriptor)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    _data_fd = None if 1 in closed else os.dup(1)
    os.dup2(2, 1)


def has_stdout() -> bool:
    """Whether there is a stdout at all: it may have been closed at the start."""
    return _data_fd is not None and _is_open(_data_fd)


def data(text: str) -> None:
    """Write `text` to stdout as it is.

    Raises:
        BrokenPipeError: nobody reads any more.
        HudError: stdout cannot be written (closed, disk full).
    """
    if _data_fd is None:
        raise HudError("standard output is closed")
    left = memoryview(text.encode("utf-8", "backslashreplace"))
    while left:
        try:
            left = left[os.write(_data_fd, left) :]
        except BrokenPipeError:
            raise
        except BlockingIOError:  # a parent made the pipe non-blocking
            import select

            select.select([], [_data_fd], [])
        except OSError as failure:
            raise HudError(f"cannot write to standard output: {failure.strerror}") from failure


def document(value: Json) -> None:
    """Write one JSON document with an indent of 2 to stdout."""
    import json

    data(json.dumps(value, indent=2) + "\n")


def table(rows: list[list[str]]) -> str:
    """Lay rows out in columns; what would move a terminal's cursor is shown as an escape."""
    safe = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in safe) for index in range(len(safe[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in safe)
    return "".join(f"{line}\n" for line in lines)


def visible(text: str) -> str:
    """Give text that moves no cursor: what would is written as an escape."""
    return text if text.isprintable() else ascii(text)[1:-1]


def amount(size_bytes: int) -> str:
    """Give a size for people, in powers of 1,000."""
    value, units = float(size_bytes), ["bytes", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def moment(time: str) -> str:
    """Give a time of a platform's without the fraction of its seconds."""
    whole, point, rest = time.partition(".")
    return whole + rest.lstrip("0123456789") if point else time


def note(text: str) -> None:
    """Write a line for people to stderr; where there is none, nowhere."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
    except (OSError, ValueError):
        pass  # stderr is closed: there is nobody to tell


def error(failure: HudError, *, as_json: bool, usage: str | None = None) -> None:
    """Say what went wrong and what to do: two lines on stderr, or one object on stdout.

    Args:
        usage: The usage line, for an error in how a command was called.
    """
    if not as_json:
        if usage:
            note(usage)
        note(f"{painted('Error:', 'red', 'bold')} {failure}")
        if failure.hint:
            note(f"{painted('Hint:', 'yellow')} {failure.hint}")
        return
    report: dict[str, Json] = {"error": failure.kind, "message": str(failure)}
    if failure.hint:
        report["suggestion"] = failure.hint
    document(report)


def painted(text: str, *styles: str, stream: str = "stderr") -> str:
    """Give `text` in colour where the stream is a terminal that wants it."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    descriptor = 2 if stream == "stderr" else _data_fd
    try:
        if descriptor is None or not os.isatty(descriptor):
            return text
    except OSError:
        return text
    return f"\033[{';'.join(_CODES[style] for style in styles)}m{text}\033[0m"


def width() -> int:
    """Give the columns of the terminal, between 40 and 100; 80 where there is none."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return max(40, min(100, int(columns)))
    try:
        return max(40, min(100, os.get_terminal_size(1).columns or 80))
    except OSError:
        return 80


def is_interactive() -> bool:
    """Whether somebody can be asked: stdin and stderr are a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def is_terminal() -> bool:
    """Whether what is said on stderr appears on a terminal, where it can move."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Give Rich's way to stderr, for what moves: bars and spinners."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, no_color=bool(os.environ.get("NO_COLOR")) or None)


def ask(question: str) -> str:
    """Ask on stderr and read a line.

    Raises:
        EOFError: the input ended (Ctrl-D).
    """
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
        raise EOFError
    return line.rstrip("\n")


def read_stdin() -> bytes:
    """Read standard input to its end.

    Raises:
        HudError: it is closed.
    """
    if sys.stdin is None:
        raise HudError("standard input is closed")
    return sys.stdin.buffer.read()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
