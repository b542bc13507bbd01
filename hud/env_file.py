"""`.env` files: names and values, one a line, without interpolation and without escapes.

A value may stand in one pair of single or double quotes; without quotes, ` #` begins a comment. What `rewrite` writes,
`parse` reads back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hud.errors import UsageError

__all__ = ["parse", "read", "rewrite"]

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=#][^\s=]*)[ \t]*=(.*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,-]*")


def parse(text: str) -> dict[str, str]:
    """Give the values of a `.env` file's text by name; of a name that is there twice, the last."""
    found = (_LINE.fullmatch(line) for line in _lines(text))
    return {match[1]: _value(match[2]) for match in found if match}


def read(path: Path) -> dict[str, str]:
    """Give the values of a file; a file that is not there or cannot be read has none."""
    try:
        return parse(path.read_bytes().decode("utf-8", "surrogateescape"))
    except OSError:
        return {}


def rewrite(text: str, values: Mapping[str, str | None]) -> str:
    """Give the text with `values` in it: a name keeps its line, a new one is added at the end, None takes it out.

    All other lines stay as they are.

    Raises:
        UsageError: a name is none, or a value holds a line break or what UTF-8 cannot carry.
    """
    for name, value in values.items():
        _check(name, value)
    kept: list[str] = []
    written: set[str] = set()
    for line in reversed(_lines(text)):  # of a name that is there twice the last line counts
        match = _LINE.fullmatch(line)
        if match is None or match[1] not in values:
            kept.append(line)
        elif match[1] not in written:
            written.add(match[1])
            value = values[match[1]]
            if value is not None:
                kept.append(_written(match[1], value))
    kept.reverse()
    kept += [_written(name, value) for name, value in values.items() if value is not None and name not in written]
    return "".join(f"{line}\n" for line in kept)


def _lines(text: str) -> list[str]:
    """Split at line feeds alone: `str.splitlines` also splits at characters that values may hold."""
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _value(text: str) -> str:
    text = text.strip(" \t")
    if not _is_quoted(text):
        text = re.split(r"(?:^|[ \t])#", text, maxsplit=1)[0].rstrip(" \t")
    return text[1:-1] if _is_quoted(text) else text


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def _written(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"{name}={value}"
    # Inside either quotes nothing is special here. Other readers know escapes: give them none to find.
    quote = '"' if "'" in value and '"' not in value else "'"
    return f"{name}={quote}{value}{quote}"


def _check(name: str, value: str | None) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a setting", hint="letters, digits and _, such as HUD_API_KEY")
    if value is None:
        return
    if any(character in value for character in "\n\r\0"):
        raise UsageError(f"the value of {name} holds a line break", hint="a setting is one line")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the value of {name} is not UTF-8 text", hint="a setting is one line of text") from None
