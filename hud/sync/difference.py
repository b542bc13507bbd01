"""What differs between two rows, field by field: as data, and as lines for people."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from itertools import islice
from typing import Any, Literal

from hud.sync.signature import settled

__all__ = ["Change", "applied", "difference", "lines", "path_text", "shown"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INLINE_CHARACTERS = 80
_CONTEXT_CHARACTERS = 24
_LONGEST_COMPARED_CHARACTERS = 200_000  # line by line; the comparison may take the square of it
_MOST_LINES = 60


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between two rows.

    Attributes:
        path: Keys and indexes from the row down, such as `("args", "word")`.
        kind: Whether the field was added, removed, or has another value.
        before: Its value in the first row; None for one that was added.
        after: Its value in the second row; None for one that was removed.
    """

    path: tuple[str | int, ...]
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Give what turns one row into the other, in the order of the paths; nothing when their digests are equal."""
    return list(_walk((), settled(before), settled(after)))


def applied(row: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Give the row that `changes` make of this one, without its slug."""
    result = copy.deepcopy(settled(row))
    for change in changes:
        *way, last = change.path
        place: Any = result
        for step in way:
            place = place[step]
        if change.kind == "removed":
            del place[last]
        else:
            place[last] = copy.deepcopy(change.after)
    return result


def lines(changes: Iterable[Change]) -> Iterator[str]:
    """Say the changes to people, a line each, and a unified diff below for texts of several lines.

    What a terminal would obey is written as an escape.
    """
    for change in changes:
        path = path_text(change.path)
        if change.kind == "added":
            yield f"{path} added: {_short(change.after)}"
        elif change.kind == "removed":
            yield f"{path} removed: {_short(change.before)}"
        else:
            yield from _changed(path, change.before, change.after)


def path_text(path: Iterable[str | int]) -> str:
    """Write a path as people do: `args.words[2]`, and `args["a.b"]` for a key that would mislead."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(json.dumps(step, ensure_ascii=False))}]"
    return text


def shown(text: str) -> str:
    """Give text that a terminal prints and does not obey: control characters and the like become escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _walk(path: tuple[str | int, ...], before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if key not in after:
                yield Change(path=(*path, key), kind="removed", before=before[key])
            elif key not in before:
                yield Change(path=(*path, key), kind="added", after=after[key])
            else:
                yield from _walk((*path, key), before[key], after[key])
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _walk((*path, index), *pair)
    elif not _same(before, after):
        yield Change(path=path, kind="changed", before=before, after=after)


def _same(before: Any, after: Any) -> bool:
    """Whether two values that are not both objects are the same JSON: 1, 1.0 and true are three of them."""
    if type(before) is not type(after):
        return False
    if isinstance(before, float):
        return repr(before) == repr(after)  # -0.0 is not 0.0
    return not isinstance(before, list) and bool(before == after)


def _changed(path: str, before: Any, after: Any) -> Iterator[str]:
    old, new = _text(before), _text(after)
    if "\n" not in old + new:
        old, new = _narrowed(_json(before), _json(after))
        yield f"{path}: {shown(old)} → {shown(new)}"
    elif len(old) + len(new) > _LONGEST_COMPARED_CHARACTERS:
        at = _common(old, new)
        yield f"{path}: {len(old):,} → {len(new):,} characters, different from character {at:,} on"
    else:
        yield f"{path}:"
        compared = list(islice(unified_diff(old.splitlines(), new.splitlines(), n=2, lineterm=""), 2, None))
        if not compared:  # the ends of lines alone
            yield f"    {_short(before)} → {_short(after)}"
        for line in compared[:_MOST_LINES]:
            yield f"    {shown(line[:200])}".rstrip()
        if len(compared) > _MOST_LINES:
            yield f"    … {len(compared) - _MOST_LINES} more lines"


def _text(value: Any) -> str:
    """Give what is compared line by line: a text itself, and an object or list with a line for each part."""
    if isinstance(value, str):
        return value
    text = _json(value)
    return text if len(text) <= _INLINE_CHARACTERS else json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _short(value: Any) -> str:
    text = _json(value)
    return shown(text if len(text) <= _INLINE_CHARACTERS else f"{text[: _INLINE_CHARACTERS - 1]}…")


def _narrowed(old: str, new: str) -> tuple[str, str]:
    """Cut what two long texts have in common, but for a little around the place where they differ."""
    if len(old) <= _INLINE_CHARACTERS and len(new) <= _INLINE_CHARACTERS:
        return old, new
    start = max(0, _common(old, new) - _CONTEXT_CHARACTERS)
    return _window(old, start), _window(new, start)


def _window(text: str, start: int) -> str:
    end = start + _INLINE_CHARACTERS
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _common(old: str, new: str) -> int:
    """Give how many characters two texts begin with in common."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
