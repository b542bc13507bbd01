"""What makes two task rows the same row: a canonical form of everything but the slug, and its digest.

Source: platform API specification, section 7.2. Platforms keep digests and clients of any version compare with them,
so the form is that of Python's `json`, to the bit; `msgspec`, eight times as fast, writes the rows in which the two
agree.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from hud.errors import UsageError
from hud.eval.config import RuntimeConfig
from hud.eval.task import default_slug

__all__ = [
    "DIGEST_BYTES",
    "canonical",
    "canonical_json",
    "digest",
    "fast_json",
    "settled",
    "settled_config",
    "sha1",
    "taskset_digest",
]

DIGEST_BYTES = 20

_OBJECTS = ("validation", "agent_config", "columns")

_fast = msgspec.json.Encoder(order="sorted").encode
_exact = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

# Where msgspec's bytes may differ from json's: an exponent (1e16 for 1e+16), a small number (0.00001 for 1e-05), and
# null, which it also writes for NaN. Text that looks like one of them costs time, not truth.
_exponent = re.compile(rb"e[-0-9]").search
_SMALL = b"0.0000"
_NULL = b"null"


def canonical(row: Mapping[str, Any]) -> bytes:
    """Give the compact JSON of a row with sorted keys, without its slug and without what is not set, as UTF-8.

    Nulls inside `args`, `columns` and `agent_config` count, and so does the difference between 1 and 1.0.

    Args:
        row: A client row (`env` as text, `id`, `args`, …) of JSON values; fields it does not know are left out.

    Raises:
        UsageError: it holds what JSON cannot carry: NaN, an infinity, half a surrogate pair, keys that are no text.
    """
    try:
        return canonical_json(settled(row))
    except UsageError as error:
        name = row.get("slug") or row.get("id")
        raise UsageError(f"task {name!r} {error.message}", hint=error.hint) from error


def digest(row: Mapping[str, Any]) -> bytes:
    """Give the SHA-1 of a row's canonical form, 20 bytes: rows are equal when their digests are."""
    return sha1(canonical(row))


def sha1(form: bytes) -> bytes:
    """Give the digest of a row whose canonical form is at hand."""
    return hashlib.sha1(form, usedforsecurity=False).digest()


def taskset_digest(digests: Mapping[str, bytes]) -> str:
    """Name the content of a taskset, whatever the order of its rows: SHA-256 in hexadecimal digits.

    Args:
        digests: The digest of each row by its slug.
    """
    content = hashlib.sha256()
    for slug in sorted(digests):
        name = slug.encode("utf-8", "surrogatepass")
        content.update(digests[slug] + len(name).to_bytes(4, "big") + name)
    return content.hexdigest()


def settled(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a row that count, in one form: no slug, no unset field, `args` an object, resources in theirs.

    A runtime config that says the same in other words (`cpu` 2 for 2.0, a GPU count of 1, a null) is the same.
    """
    env = row["env"]
    fields: dict[str, Any] = {"env": env if isinstance(env, str) else env["name"], "id": row["id"]}
    fields["args"] = row.get("args") or {}
    for name in _OBJECTS:
        if (value := row.get(name)) is not None:
            fields[name] = value
    if config := row.get("runtime_config"):
        known = settled_config(config)
        if known is None:  # a newer client's: taken as it is
            fields["runtime_config"] = config
        elif known:
            fields["runtime_config"] = known
    if (verifier := row.get("verifier")) is not None:
        inner = settled(verifier)
        inner["slug"] = verifier.get("slug") or default_slug(inner["id"], inner["args"])
        fields["verifier"] = inner
    return fields


def canonical_json(value: object) -> bytes:
    """Give a JSON value in the form that digests are made of.

    Raises:
        UsageError: JSON cannot carry it.
    """
    if (encoded := fast_json(value)) is not None:
        return encoded
    try:
        return _exact(value).encode()
    except UnicodeEncodeError as error:
        raise UsageError("holds half of a surrogate pair, which is no text", hint="mend the text") from error
    except RecursionError as error:
        raise UsageError("is nested too deeply for JSON", hint="flatten it") from error
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"holds what JSON cannot carry: {error}", hint="use text, numbers, lists and objects"
        ) from error


def fast_json(value: object) -> bytes | None:
    """Give the same as `canonical_json` where that takes little time, else None; `msgspec` structs are objects here."""
    try:
        encoded = _fast(value)
    except (TypeError, ValueError, RecursionError):  # json says what is wrong with it, or takes keys that are numbers
        return None
    return None if _NULL in encoded or _SMALL in encoded or _exponent(encoded) else encoded


def settled_config(config: object) -> dict[str, Any] | None:
    """Give a runtime config in its one form, for reading alone; None when it is none that this client knows."""
    return _settled_config(canonical_json(config))


@lru_cache(maxsize=1024)  # rows share a handful of them
def _settled_config(encoded: bytes) -> dict[str, Any] | None:
    try:
        config = RuntimeConfig.from_dict(json.loads(encoded)).to_dict()
    except UsageError:
        return None
    for name, limit in config.get("limits", {}).items():
        if isinstance(limit, float) and limit.is_integer():
            config["limits"][name] = int(limit)
    return config
