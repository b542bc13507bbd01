"""The rows of an upload: read from JSON, each kept as the bytes that an export gives again (PA-19).

Source: platform API specification, section 7.3. Fields that it does not name are left out.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, islice
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from hud.errors import UsageError
from hud.eval.config import RuntimeConfig
from hud.sync.signature import canonical, fast_json, sha1

__all__ = [
    "Buffer",
    "Malformed",
    "Part",
    "TaskRow",
    "UploadBody",
    "environments_of",
    "is_deep",
    "named",
    "read_body",
    "read_row",
]

Buffer = Any
"""Bytes, or what has them in a file."""

_MOST_LEVELS = 200  # Python's own reader gives up at a thousand, and rows travel inside of other documents
_LONGEST_SLUG_BYTES = 1024  # PostgreSQL indexes no more than 2,700
_LONGEST_REASON = 400
_CACHED_BYTES = 4096
_STEPS_AT_ONCE = 65_536
_MOST_TOKENS = 1_000_000  # looked through for the row in which a broken upload ceases to be JSON
_PROBLEM = re.compile(r"(.*?)(?: - at \$\.?(.*))?", re.DOTALL)
# Also one without an end: otherwise each quote in it would begin another search to the end.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_TOKEN = re.compile(_STRING.pattern + rb"|[][{}]", re.DOTALL)
_TO_STEPS = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")  # one level in, one level out
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_FIRST_NAME = re.compile(rb'\s*\{\s*"name"\s*:\s*"([^"\\]{1,255})"')
_PLACE = re.compile(r"\(byte (\d+)\)")

_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Object = dict[str, Any]
_NOTHING = Raw(b"{}")


class Malformed(Exception):
    """Why a text is no row; its argument says so to people."""


class Part(Struct, frozen=True, kw_only=True, gc=False):
    """A template and its arguments, which an environment has to know."""

    env: str
    task: str
    args: _Object


class TaskRow(Struct, frozen=True, kw_only=True, gc=False):
    """A row that is well formed.

    Attributes:
        digest: `hud.sync.signature.digest` of it.
        record: Its export record as JSON; every value is written as it was uploaded.
        verifier: What grades in its place.
    """

    slug: str
    digest: bytes
    record: bytes
    task: Part
    verifier: Part | None


class UploadBody(Struct):
    """What `POST /tasks/upload` is sent; the rows are not decoded."""

    tasks: list[Raw]
    taskset_name: str | None = None
    taskset_id: str | None = None
    project_id: str | None = None


class _Environment(Struct):
    name: _Name


class _Verifier(Struct):
    env: _Name
    id: _Name
    args: _Object | None = None
    slug: _Name | None = None
    validation: list[_Object] | None = None
    agent_config: _Object | None = None
    columns: _Object | None = None
    runtime_config: _Object | None = None
    verifier: object = None


class _Row(Struct):
    name: _Name
    env: _Environment
    task_id: _Name
    args: _Object | None = None
    validation: list[_Object] | None = None
    agent_config: _Object | None = None
    columns: _Object | None = None
    runtime_config: _Object | None = None
    verifier: _Verifier | None = None


class _Named(Struct):
    name: object = None


class _RawEnvironment(Struct):
    name: Raw


class _RawRow(Struct):
    name: Raw
    env: _RawEnvironment
    task_id: Raw
    args: Raw | UnsetType = UNSET
    validation: Raw | UnsetType = UNSET
    agent_config: Raw | UnsetType = UNSET
    columns: Raw | UnsetType = UNSET
    runtime_config: Raw | UnsetType = UNSET
    verifier: Raw | UnsetType = UNSET


class _Record(Struct):
    name: Raw
    env: Raw
    scenario: Raw
    args: Raw
    validation: Raw | UnsetType = UNSET
    agent_config: Raw | UnsetType = UNSET
    columns: Raw | UnsetType = UNSET
    runtime_config: Raw | UnsetType = UNSET
    verifier: Raw | UnsetType = UNSET


class _Form(Struct, omit_defaults=True):
    """The signed fields of a row without a runtime config or a verifier."""

    env: str
    id: str
    args: _Object
    validation: list[_Object] | None = None
    agent_config: _Object | None = None
    columns: _Object | None = None


_decode_body = msgspec.json.Decoder(UploadBody).decode
_decode_row = msgspec.json.Decoder(_Row).decode
_decode_parts = msgspec.json.Decoder(_RawRow).decode
_decode_name = msgspec.json.Decoder(_Named).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_body(body: Buffer) -> UploadBody:
    """Split the body of an upload; the rows stay where they are.

    Raises:
        UsageError: it is no such object; the message has the row in which it ceases to be JSON.
    """
    try:
        return _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        place = _PLACE.search(str(error))
        end = int(place[1]) + 1 if place and not isinstance(error, RecursionError) else len(body)
        where = "" if isinstance(error, msgspec.ValidationError) else _culprit(bytes(body[:end]))
        raise UsageError(f"{where or 'the upload'} {_reason(error)}") from error


def read_row(text: bytes) -> TaskRow:
    """Read one row of an upload from its JSON.

    Raises:
        Malformed: it is none.
    """
    try:
        if is_deep(text):
            raise Malformed(f"is nested in more than {_MOST_LEVELS} levels")
        row = _decode_row(text)
        parts = _decode_parts(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(_reason(error)) from error
    if "\0" in row.name or len(row.name.encode()) > _LONGEST_SLUG_BYTES:
        raise Malformed(f"has a slug that is longer than {_LONGEST_SLUG_BYTES} bytes or holds a zero byte")
    record = _Record(
        name=parts.name,
        env=parts.env.name,
        scenario=parts.task_id,
        args=_NOTHING if parts.args is UNSET else parts.args,
        validation=parts.validation,
        agent_config=parts.agent_config,
        columns=parts.columns,
        runtime_config=parts.runtime_config,
        verifier=parts.verifier,
    )
    return TaskRow(
        slug=row.name,
        digest=_digest(row, parts),
        record=_encode(record),
        task=Part(env=row.env.name, task=row.task_id, args=row.args or {}),
        verifier=None if row.verifier is None else _checked_verifier(row.verifier),
    )


def named(text: bytes, place: str) -> str:
    """Name a row that cannot be read: by its slug where one can be made out, else by its place in the upload."""
    try:
        slug = _decode_name(text).name
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _FIRST_NAME.match(text[:_CACHED_BYTES])
        slug = found[1].decode(errors="replace") if found else ""
    return f"task {_shortened(slug)!r}" if isinstance(slug, str) and slug else place


def environments_of(rows: Iterable[TaskRow]) -> set[str]:
    """Give the names of the environments that rows belong to, those of their verifiers too."""
    return {part.env for row in rows for part in (row.task, row.verifier) if part is not None}


def is_deep(text: bytes) -> bool:
    """Whether JSON is nested in too many levels."""
    if text.count(b"{") + text.count(b"[") <= _MOST_LEVELS:
        return False
    steps = array("b", _STRING.sub(b"", text).translate(_TO_STEPS, _NO_BRACKETS))
    level = 0
    for start in range(0, len(steps), _STEPS_AT_ONCE):
        levels = list(accumulate(steps[start : start + _STEPS_AT_ONCE], initial=level))
        if max(levels) > _MOST_LEVELS:
            return True
        level = levels[-1]
    return False


def _digest(row: _Row, parts: _RawRow) -> bytes:
    if row.runtime_config is None and row.verifier is None:
        form = _Form(row.env.name, row.task_id, row.args or {}, row.validation, row.agent_config, row.columns)
        if (encoded := fast_json(form)) is not None:
            return sha1(encoded)
    if isinstance(parts.runtime_config, Raw) and row.runtime_config is not None:
        _check_config(bytes(parts.runtime_config))
    client_row = {
        "slug": row.name,
        "env": row.env.name,
        "id": row.task_id,
        "args": row.args,
        "validation": row.validation,
        "agent_config": row.agent_config,
        "columns": row.columns,
        "runtime_config": row.runtime_config,
        "verifier": _decode(parts.verifier) if isinstance(parts.verifier, Raw) else None,
    }
    try:
        return sha1(canonical(client_row))
    except UsageError as error:
        raise Malformed(error.message) from error


def _checked_verifier(verifier: _Verifier) -> Part:
    if verifier.verifier is not None:
        raise Malformed("has a verifier that has a verifier of its own")
    if verifier.runtime_config is not None:
        _check_config(_encode(verifier.runtime_config))
    return Part(env=verifier.env, task=verifier.id, args=verifier.args or {})


def _check_config(text: bytes) -> None:
    """Refuse a runtime config that is not of the closed form.

    Source: platform API specification, section 7.4.
    """
    problem = _config_problem(text) if len(text) <= _CACHED_BYTES else _config_problem.__wrapped__(text)
    if problem is not None:
        raise Malformed(problem)


@lru_cache(maxsize=1024)  # rows share a handful of them
def _config_problem(text: bytes) -> str | None:
    try:
        config = RuntimeConfig.from_dict(json.loads(text))
    except UsageError as error:
        return f"has a {_shortened(error.message)}"
    except OverflowError:
        return "has a runtime config with a number that is too large"
    if config.compose is not None and isinstance(config.compose.document, str):
        return f"has the path {config.compose.document[:80]!r} as compose.document, not the document itself"
    return None


def _reason(error: Exception) -> str:
    """Say what is wrong with a JSON text, as the rest of a sentence that begins with its name."""
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8: {error.reason}"
    match = _PROBLEM.fullmatch(str(error).removeprefix("JSON is malformed: ").replace("`", ""))
    reason, path = match.groups() if match else (str(error), None)
    reason = _shortened(reason[:1].lower() + reason[1:])
    if not isinstance(error, msgspec.ValidationError):
        return f"is not JSON: {reason}"
    return f"is malformed{f' at {path}' if path else ''}: {reason}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"


def _culprit(text: bytes) -> str:
    """Name the row of a broken upload in which its text ends or becomes too deep, or give nothing."""
    depth, index, start, previous = 0, -1, 0, b""
    in_rows = False
    for token in islice(_TOKEN.finditer(text), _MOST_TOKENS):
        found = token[0]
        if found in b"[{":
            if depth == 1 and found == b"[" and previous == b'"tasks"':
                in_rows = True
            depth += 1
            if in_rows and depth == 3:
                index, start = index + 1, token.start()
            if depth > _MOST_LEVELS:
                break
        elif found in b"]}":
            depth -= 1
            if depth == 1:
                in_rows = False
        previous = found
    if not in_rows or index < 0:
        return ""
    return named(text[start:], f"tasks[{index}]")
