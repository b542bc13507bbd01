"""The control channel's frames: one JSON object a line, JSON-RPC 2.0 in a newline-delimited TCP stream.

Both sides stand on this module; it knows nothing of tasks or sockets. Source: the control-channel
specification, sections 1 to 3. Standard library only, and cheap to import: commands load it on every call.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = Any
    """A value that JSON can carry."""

__all__ = [
    "BUSY",
    "DEFAULT_PORT",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "LIMIT_BYTES",
    "METHOD_NOT_FOUND",
    "NOTHING_TO_GRADE",
    "PARSE_ERROR",
    "TASK_ERROR",
    "TOKEN_VARIABLE",
    "UNAUTHORISED",
    "decode",
    "encode",
    "encode_error",
    "encode_request",
    "encode_result",
]

DEFAULT_PORT = 8765
LIMIT_BYTES = 16 * 1024 * 1024
"""The largest frame either side may send, without its line feed (CC-04, CC-05)."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
BUSY = INVALID_REQUEST
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
TASK_ERROR = -32000
UNAUTHORISED = -32001
"""Ours: the channel asks for a shared token and got none, or another."""

NOTHING_TO_GRADE = "no task in progress"
"""The exact message on which a client may start the task itself (CC-31)."""

TOKEN_VARIABLE = "HUD_CHANNEL_TOKEN"
"""The environment variable from which both sides read the shared token of a channel."""


def jsonable(value: object) -> Json:
    """Give the plain form of an object that `json` does not know.

    Pydantic models, msgspec structs, dataclasses, attrs classes, mappings and array scalars are accepted, because
    authors yield them; their libraries are not imported for it.

    Raises:
        TypeError: the object has no JSON form (the message is the one that CC clients know from `json`).
    """
    kind = type(value)
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    fields = getattr(kind, "__struct_fields__", None) or getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return {attribute.name: getattr(value, attribute.name) for attribute in attributes}
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118  it need not iterate
    if hasattr(value, "tolist"):  # NumPy and torch scalars and arrays
        return value.tolist()
    raise TypeError(f"Object of type {kind.__name__} is not JSON serializable")


_decode = json.JSONDecoder().decode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_encode = json.JSONEncoder(separators=(",", ":"), default=jsonable, allow_nan=False).encode
_encode_lenient = json.JSONEncoder(separators=(",", ":"), default=jsonable).encode


def encode(value: object) -> str:
    """Write a value as compact ASCII JSON; a number that JSON lacks (NaN, infinities) becomes null.

    Raises:
        TypeError: the value holds an object without a JSON form.
        ValueError: the value contains itself.
    """
    try:
        return _encode(value)
    except ValueError as error:
        if "Circular" in str(error):
            raise
        return _encode(json.loads(_encode_lenient(value), parse_constant=lambda _: None))


def encode_request(request_id: int, method: str, params: dict[str, Json]) -> bytes:
    """Write one request frame, line feed included."""
    return f'{{"jsonrpc":"2.0","id":{request_id},"method":"{method}","params":{encode(params)}}}\n'.encode("ascii")


def encode_result(request_id: Json, result: str) -> bytes:
    """Write one success frame around `result`, which is already JSON text."""
    identity = request_id if type(request_id) is int else encode(request_id)
    return f'{{"jsonrpc":"2.0","id":{identity},"result":{result}}}\n'.encode("ascii")


def encode_error(request_id: Json, code: int, message: str) -> bytes:
    """Write one error frame."""
    error = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
    return (encode(error) + "\n").encode("ascii")


def decode(line: bytes | bytearray) -> dict[str, Json]:
    """Read one frame, with or without its line end.

    A UTF-8 byte order mark, CRLF and inner white space are tolerated; of duplicate keys the last wins.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deeply, or not an object.
    """
    try:
        text = line.decode()
        try:
            # What peers write: one value, and a line feed behind it at most. `decode` would look for white space
            # around it with two regular expressions, which cost a third of a frame.
            frame, end = _scan(text, 0)
            if text[end:] not in ("", "\n"):
                frame = _decode(text)
        except StopIteration:
            frame = _decode(text if text[:1] != "\ufeff" else text[1:])
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if type(frame) is not dict:
        raise ValueError(f"a frame is a JSON object, got {type(frame).__name__}")
    return frame
