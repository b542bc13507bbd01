"""The three forms of a task row: in files, in a platform's export, and in an upload.

In files and in the code a row is a *client row* (`slug`, `env`, `id`, `args`, …). An export record calls the slug
`name` and the template `scenario`; an upload calls them `name` and `task_id` and wraps the environment in an object.

Source: platform API specification, sections 7.1 and 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from hud.eval.task import default_slug
from hud.sync.signature import canonical, fast_json, settled, settled_config, sha1

__all__ = ["Signed", "client_row", "signed_record", "signed_row", "upload_row"]

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


_decode_row = msgspec.json.Decoder(_Row).decode
_decode_record = msgspec.json.Decoder(_Record).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NOTHING: _Object = {}


def signed_row(text: bytes | msgspec.Raw) -> Signed | None:
    """Give the slug and digest of a client row, from its JSON; None for one that takes a slower and closer look."""
    try:
        row = _decode_row(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    slug = row.slug or default_slug(row.id, row.args or _NOTHING)
    if row.runtime_config is None and row.verifier is None:
        row.slug = None
        row.args = row.args or {}
        form = fast_json(row)
        return (slug, sha1(form if form is not None else canonical(_decode(text))))
    verifier = row.verifier
    if not _is_plain(row.runtime_config):
        return None
    if verifier is not None and (verifier.verifier is not None or not _is_plain(verifier.runtime_config)):
        return None
    return slug, sha1(canonical(_decode(text)))


def signed_record(text: bytes | msgspec.Raw) -> Signed:
    """Give the slug and digest of an export record, from its JSON.

    Raises:
        msgspec.DecodeError: it lacks a field, or one is of another type.
        UsageError: it holds what JSON cannot carry.
    """
    record = _decode_record(text)
    if record.runtime_config is None and record.verifier is None:
        row = _Row(
            env=record.env,
            id=record.scenario,
            args=record.args or {},
            validation=record.validation,
            agent_config=record.agent_config,
            columns=record.columns,
        )
        if (form := fast_json(row)) is not None:
            return record.name, sha1(form)
    return record.name, sha1(canonical(client_row(_decode(text))))


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


def _is_plain(config: _Object | None) -> bool:
    """Whether a runtime config is known here in all its parts, and travels as it is."""
    if config is None:
        return True
    known = settled_config(config)
    return known is not None and "compose" not in known
