"""The three forms of a task row: in files, in a platform's export, and in an upload.

In files and in the code a row is a *client row* (`slug`, `env`, `id`, `args`, …). An export record calls the slug
`name` and the template `scenario`; an upload calls them `name` and `task_id` and wraps the environment in an object.

Source: platform API specification, sections 7.1 and 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from hud.errors import UsageError
from hud.eval.task import default_slug
from hud.sync.signature import canonical, settled, settled_config, sha1

__all__ = ["Signed", "client_row", "record_signer", "row_signer", "upload_row"]

Signed = tuple[str, bytes]
"""A slug and the digest of its row."""

_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Object = dict[str, Any]


class _Row(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    env: _Name
    id: _Name
    args: _Object | None = None
    slug: _Name | None = None
    validation: list[_Object] | None = None
    agent_config: _Object | None = None
    columns: _Object | None = None
    runtime_config: _Object | None = None
    verifier: _Row | None = None


class _Record(msgspec.Struct):
    name: _Name
    env: _Name
    scenario: _Name
    args: _Object | None = None
    validation: list[_Object] | None = None
    agent_config: _Object | None = None
    columns: _Object | None = None
    runtime_config: _Object | None = None
    verifier: _Object | None = None


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_NOTHING: _Object = {}


class _Numbers:
    """Reads the numbers with a fraction or exponent of a row, and notes an unusual size.

    What JSON says is finite and text, so of all that `canonical` looks for in the bytes only those are left: `msgspec`
    writes 1e16 and 0.00001 where `json` writes 1e+16 and 1e-05.
    """

    __slots__ = ("are_odd",)

    def __call__(self, text: str) -> float:
        number = float(text)
        if not (1e-3 <= number < 1e15 or -1e15 < number <= -1e-3 or number == 0):
            self.are_odd = True
        return number


def row_signer() -> Callable[[bytes | msgspec.Raw], Signed | None]:
    """Give a function from the JSON of a client row to its slug and digest, for one thread: 3 µs a row.

    It gives None for a row that takes a closer look.
    """
    numbers = _Numbers()
    decode = msgspec.json.Decoder(_Row, float_hook=numbers).decode

    def signed(text: bytes | msgspec.Raw) -> Signed | None:
        numbers.are_odd = False
        try:
            row = decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        slug = row.slug or default_slug(row.id, row.args or _NOTHING)
        if row.runtime_config is not None or row.verifier is not None or numbers.are_odd:
            return (slug, sha1(form)) if (form := _uncommon_form(row, text)) else None
        row.slug = None
        row.args = row.args or {}
        return slug, sha1(_encode_sorted(row))

    return signed


def record_signer() -> Callable[[bytes | msgspec.Raw], Signed]:
    """Give a function from the JSON of an export record to its slug and digest, for one thread.

    It raises `msgspec.DecodeError` when a record lacks a field or one is of another type, and `UsageError` when it
    holds what JSON cannot carry.
    """
    numbers = _Numbers()
    decode = msgspec.json.Decoder(_Record, float_hook=numbers).decode

    def signed(text: bytes | msgspec.Raw) -> Signed:
        numbers.are_odd = False
        record = decode(text)
        if record.runtime_config is not None or record.verifier is not None or numbers.are_odd:
            return record.name, sha1(canonical(client_row(_decode(text))))
        row = _Row(
            record.env,
            record.scenario,
            record.args or {},
            None,
            record.validation,
            record.agent_config,
            record.columns,
        )
        return record.name, sha1(_encode_sorted(row))

    return signed


def client_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give the client row of an export record, with what is set and nothing else."""
    row = {**record, "id": record["scenario"], "slug": record["name"]}
    return {"slug": record["name"], **settled(row)}


def upload_row(row: Mapping[str, Any]) -> bytes:
    """Give the JSON that an upload says a client row in; the verifier stays as it is.

    Args:
        row: With what is set and nothing else, as `LocalRows.rows` gives it.
    """
    fields = dict(row)
    named = {"name": fields.pop("slug"), "env": {"name": fields.pop("env")}, "task_id": fields.pop("id")}
    return _encode({**named, **fields})


def _uncommon_form(row: _Row, text: bytes | msgspec.Raw) -> bytes | None:
    """Give the canonical form of a row with a runtime config, a verifier or unusual numbers, or None."""
    verifier = row.verifier
    if not _is_plain(row.runtime_config):
        return None
    if verifier is not None and (verifier.verifier is not None or not _is_plain(verifier.runtime_config)):
        return None
    try:
        return canonical(_decode(text))
    except (UsageError, msgspec.DecodeError):  # a number too large
        return None


def _is_plain(config: _Object | None) -> bool:
    """Whether a runtime config is known here in all its parts, and travels as it is."""
    if config is None:
        return True
    known = settled_config(config)
    return known is not None and "compose" not in known
