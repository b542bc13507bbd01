"""The task rows here: a digest for each slug, and the rows themselves when they are asked for.

A source of 100,000 rows is read once for its digests and kept as nothing else; of JSON files the few rows that travel
are read again from where they lie.
"""

from __future__ import annotations

import json
import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import msgspec

from hud.environment.source import collect_tasks
from hud.errors import HudError, NotFoundError, UsageError
from hud.eval.task import Task
from hud.sync.difference import path_text
from hud.sync.export import csv_rows
from hud.sync.records import row_signer
from hud.sync.signature import digest, settled

__all__ = ["LocalRows", "load"]

_BOM = b"\xef\xbb\xbf"
_MOST_NAMED = 10


class LocalRows:
    """The rows of a source.

    Attributes:
        source: Where they come from, as it was given.
        digests: The digest of each row by its slug, in the order of the source.
    """

    def __init__(self, source: str, digests: dict[str, bytes], read: Callable[[list[int]], Iterable[Any]]) -> None:
        self.source = source
        self.digests = digests
        self._read = read

    def __len__(self) -> int:
        return len(self.digests)

    def rows(self, slugs: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Give the client rows of these slugs, in the order of the source, with what is set and nothing else.

        Raises:
            HudError: the file has changed since it was compared.
        """
        wanted = set(slugs)
        places = [(index, slug) for index, slug in enumerate(self.digests) if slug in wanted]
        found = self._read([index for index, _ in places])
        for (_, slug), row in zip(places, found, strict=True):
            if not _is_row(row, self.digests[slug]):
                raise HudError(f"{self.source} has changed while it was synced: task {slug!r}", hint="sync it again")
            yield {"slug": slug, **settled(row)}


def load(source: str | os.PathLike[str]) -> LocalRows:
    """Read the rows of a `.py` file, a folder, a `.json`, `.jsonl` or exported `.csv` file; Python source is imported.

    Raises:
        NotFoundError: there is no such source.
        UsageError: a row is malformed or holds what JSON cannot carry, two rows have one slug, or the file is of
            another kind.
        EnvironmentLoadError: the source fails while it is imported.
    """
    text = os.fspath(source)
    if text.endswith(tuple(_READERS)) and not os.path.isdir(text):
        return _READERS[os.path.splitext(text)[1]](text)
    return _of_tasks(text, collect_tasks(text))


def _of_tasks(source: str, tasks: list[Task]) -> LocalRows:
    rows = {task.slug: _carried(task.to_row(), f"task {task.slug!r}") for task in tasks}
    digests = {slug: digest(row) for slug, row in rows.items()}
    kept = list(rows.values())
    return LocalRows(source, digests, lambda indexes: [kept[index] for index in indexes])


def _of_lines(path: str) -> LocalRows:
    digests: dict[str, bytes] = {}
    repeated: list[str] = []
    offsets = array("Q")
    signed = row_signer()
    with _opened(path) as file:
        end = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
        file.seek(end)
        for number, line in enumerate(file, 1):
            start, end = end, end + len(line)
            if line.isspace():
                continue
            slug, signature = signed(line) or _closely(line, f"{path}:{number}")
            if slug in digests:
                repeated.append(slug)
            digests[slug] = signature
            offsets.append(start)
    _refuse_repeats(repeated, path)

    def read(indexes: list[int]) -> Iterator[Any]:
        with _opened(path) as file:
            for index in indexes:
                file.seek(offsets[index])
                yield _decoded(file.readline())

    return LocalRows(path, digests, read)


def _of_document(path: str) -> LocalRows:
    digests: dict[str, bytes] = {}
    repeated: list[str] = []
    signed = row_signer()
    for index, raw in enumerate(_items(path)):
        slug, signature = signed(raw) or _closely(bytes(raw), f"{path}, row {index}")
        if slug in digests:
            repeated.append(slug)
        digests[slug] = signature
    _refuse_repeats(repeated, path)

    def read(indexes: list[int]) -> Iterator[Any]:
        items = _items(path)
        for index in indexes:
            yield _decoded(bytes(items[index])) if index < len(items) else None

    return LocalRows(path, digests, read)


def _of_table(path: str) -> LocalRows:
    with _opened(path) as file:
        content = file.read().removeprefix(_BOM)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    rows = [_client_row(row, place) for place, row in csv_rows(text, path)]
    numbers = Counter(row["slug"] for row in rows)
    _refuse_repeats([slug for slug, number in numbers.items() if number > 1], path)
    digests = {row["slug"]: digest(row) for row in rows}
    return LocalRows(path, digests, lambda indexes: [rows[index] for index in indexes])


_READERS = {".json": _of_document, ".jsonl": _of_lines, ".csv": _of_table}


def _items(path: str) -> list[msgspec.Raw]:
    """Give the rows of a document, which is a list of them or one, without decoding them."""
    with _opened(path) as file:
        text = file.read().removeprefix(_BOM)
    try:
        if text.lstrip()[:1] == b"[":
            return msgspec.json.decode(text, type=list[msgspec.Raw])
        return [msgspec.json.decode(text, type=msgspec.Raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # JSON to Python's own parser, maybe: a NaN, half a surrogate pair. It tells what is wrong, and where.
        document = _parsed(text, path)
        items = document if isinstance(document, list) else [document]
        return [msgspec.Raw(json.dumps(item).encode()) for item in items]


def _opened(path: str) -> Any:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise NotFoundError(f"no such file or folder: {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _decoded(text: bytes) -> Any:
    """Give what was decoded once before; None for what no longer can be."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_row(row: Any, signature: bytes) -> bool:
    """Whether this is still the row with that digest."""
    try:
        return digest(row) == signature
    except (UsageError, TypeError, KeyError, AttributeError):  # not even a row
        return False


def _closely(text: bytes, place: str) -> tuple[str, bytes]:
    """Read a row as `Task.from_row` does, and say what is wrong with it."""
    row = _client_row(_parsed(text, place), place)
    return row["slug"], digest(row)


def _parsed(text: bytes, place: str) -> Any:
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{place} is not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError is a ValueError, and so is a number too long
        raise UsageError(f"{place} is not JSON: {error}") from error


def _client_row(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UsageError(f"{place}: a task row is an object, got {type(row).__name__}")
    try:
        task = Task.from_row(row)
    except UsageError as error:
        raise UsageError(f"{place}: {error.message}", hint=error.hint) from error
    return _carried(task.to_row(), place)


def _carried(row: dict[str, Any], place: str) -> dict[str, Any]:
    """Give the row as it is after a trip through JSON.

    Raises:
        UsageError: JSON cannot carry a value; the message has its path.
    """
    try:
        carried: dict[str, Any] = json.loads(json.dumps(row, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        _name_the_culprit(row, place)
    document = (row.get("runtime_config") or {}).get("compose", {}).get("document")
    if isinstance(document, str):
        raise UsageError(
            f"{place}: runtime_config.compose.document is the path {document!r}, which a platform cannot read",
            hint="give the Compose document itself, as an object",
        )
    return carried


def _name_the_culprit(row: Mapping[str, Any], place: str) -> NoReturn:
    try:
        for path, value in _leaves((), row):
            if isinstance(value, float) and not math.isfinite(value):
                name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
                raise UsageError(f"{place}: {path_text(path)} is {name}, which JSON has no number for", hint="use null")
            if isinstance(value, str):
                if any("\ud800" <= one <= "\udfff" for one in value):
                    raise UsageError(f"{place}: {path_text(path)} holds half of a surrogate pair, which is no text")
            elif value is not None and not isinstance(value, bool | int | float):
                raise UsageError(f"{place}: {path_text(path)} is a {type(value).__name__}, which JSON cannot carry")
    except RecursionError:
        raise UsageError(f"{place} is nested too deeply for JSON") from None
    raise UsageError(f"{place} holds keys or numbers that JSON cannot carry", hint="keys are text")


def _leaves(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, str(key)), str(key)
            yield from _leaves((*path, str(key)), inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves((*path, index), inner)
    else:
        yield path, value


def _refuse_repeats(slugs: list[str], path: str) -> None:
    if slugs:
        distinct = list(dict.fromkeys(slugs))
        more = f" and {len(distinct) - _MOST_NAMED} more" if len(distinct) > _MOST_NAMED else ""
        raise UsageError(
            f"duplicate task slugs in {path}: {', '.join(distinct[:_MOST_NAMED])}{more}",
            hint="give each row a slug of its own: Task(…, slug=…)",
        )
