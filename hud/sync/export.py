"""Rows as a file: `.json`, `.jsonl`, and `.csv` for spreadsheets, all of which can be read back.

A CSV has the columns `slug`, `id`, `env`, one `arg:<key>` an argument, and one a field that any row sets. A cell
holds text as it is and everything else as JSON; text that would be taken for JSON, or that a spreadsheet would run as
a formula, is a JSON string. An empty cell is not set.

Source: command-line specification, section 4.8; platform API specification, weakness 10.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hud import files
from hud.errors import UsageError

__all__ = ["FORMATS", "check_format", "csv_rows", "write"]

FORMATS = (".json", ".jsonl", ".csv")

_NAMES = ("slug", "id", "env")
_FIELDS = ("columns", "validation", "agent_config", "runtime_config", "verifier")
_ARGUMENT = "arg:"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check_format(path: str | os.PathLike[str]) -> str:
    """Give the ending of a file to write.

    Raises:
        UsageError: it is none of `FORMATS`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{os.fspath(path)} is neither .json, .jsonl nor .csv", hint="--export tasks.json")
    return suffix


def write(path: str | os.PathLike[str], rows: Iterable[dict[str, Any]]) -> int:
    """Write client rows, whole or not at all, and give their number.

    Raises:
        UsageError: another kind of file.
        HudError: the disk is full, or the place may not be written.
    """
    suffix = check_format(path)
    kept = list(rows)
    if suffix == ".csv":
        text = _csv(kept)
    elif suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    else:
        text = json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
    files.replace(Path(path), text.encode())
    return len(kept)


def csv_rows(text: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the rows of a CSV, each with its place in the file.

    Raises:
        UsageError: a column is not known, or the file is no CSV.
    """
    before = csv.field_size_limit(sys.maxsize)
    try:
        table = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(table, [])
        _check_header(header, path)
        for cells in table:
            if cells:
                place = f"{path}:{table.line_num}"
                if len(cells) != len(header):
                    raise UsageError(f"{place} has {len(cells)} cells, and the header {len(header)}")
                yield place, _row(header, cells, place)
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV: {error}") from error
    finally:
        csv.field_size_limit(before)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    arguments = sorted({key for row in rows for key in row["args"]})
    fields = [name for name in _FIELDS if any(name in row for row in rows)]
    target = io.StringIO(newline="")
    table = csv.writer(target)
    table.writerow([*_NAMES, *(_ARGUMENT + key for key in arguments), *fields])
    for row in rows:
        args = row["args"]
        table.writerow(
            [
                *(_name_cell(row[name]) for name in _NAMES),
                *(_cell(args[key]) if key in args else "" for key in arguments),
                *(json.dumps(row[name], ensure_ascii=False) if name in row else "" for name in fields),
            ]
        )
    return target.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value if value and not value.startswith(_FORMULA) and not _is_json(value) else _quoted(value)


def _name_cell(value: str) -> str:
    return _quoted(value) if value.startswith((*_FORMULA, '"')) else value


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _check_header(header: list[str], path: str) -> None:
    for name in ("id", "env"):
        if name not in header:
            raise UsageError(f"{path} has no column {name!r}", hint="the columns are slug, id, env and arg:NAME")
    for name in header:
        if name not in _NAMES and name not in _FIELDS and not name.startswith(_ARGUMENT):
            raise UsageError(f"{path} has the column {name!r}", hint=f"for an argument of that name: {_ARGUMENT}{name}")
        if header.count(name) > 1:
            raise UsageError(f"{path} has the column {name!r} twice")


def _row(header: list[str], cells: list[str], place: str) -> dict[str, Any]:
    row: dict[str, Any] = {"args": {}}
    for name, cell in zip(header, cells, strict=True):
        if not cell:
            continue
        if name in _NAMES:
            row[name] = json.loads(cell) if cell.startswith('"') and _is_json(cell) else cell
        elif name.startswith(_ARGUMENT):
            row["args"][name.removeprefix(_ARGUMENT)] = json.loads(cell) if _is_json(cell) else cell
        elif _is_json(cell):
            row[name] = json.loads(cell)
        else:
            raise UsageError(f"{place}: {name} is no JSON: {cell[:80]!r}")
    return row
