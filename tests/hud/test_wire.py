"""The frame codec: what is written is read again, and what is no frame is refused."""

from __future__ import annotations

import dataclasses
import decimal
import enum
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hud import wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)
IDS = st.none() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.integers())


@given(OBJECTS)
@example({"\ud800": "\udfff"})
@example({"": "\u2028\u2029\x00\x7f\xa0"})
def test_what_is_encoded_is_read_by_any_json_reader(value: dict[str, Any]) -> None:
    text = wire.encode(value)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == value
    assert wire.decode(text.encode() + b"\n") == value


@given(OBJECTS, st.sampled_from(["", "\n", "\r\n", " \n", "\t\r\n"]), st.booleans(), st.booleans(), st.booleans())
def test_a_frame_is_read_in_any_of_its_spellings(
    value: dict[str, Any], end: str, mark: bool, wide: bool, raw: bool
) -> None:
    text = json.dumps(value, ensure_ascii=not raw, indent=None, separators=(", ", ": ") if wide else (",", ":"))
    data = (("\ufeff" if mark else "") + (" " if wide else "") + text + end).encode("utf-8", "surrogatepass")
    if raw and any("\ud800" <= character <= "\udfff" for character in text):
        with pytest.raises(ValueError, match="utf-8"):
            wire.decode(data)
    else:
        assert wire.decode(data) == value


@given(st.binary(max_size=200))
@example(b"")
@example(b"\n")
@example(b"null")
@example(b"\xef\xbb\xbf")
@example(b"{} {}")
@example(b'{"a":1}x')
@example(b"\xef\xbb\xbf\xef\xbb\xbf{}")
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_are_an_object_or_a_value_error(data: bytes) -> None:
    try:
        frame = wire.decode(data)
    except ValueError:
        return
    assert type(frame) is dict
    assert json.loads(data.decode("utf-8-sig")) == frame or "NaN" in data.decode()


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\t\\u', max_size=60))
def test_what_json_refuses_is_refused_and_what_it_accepts_is_accepted(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    if isinstance(expected, dict):
        assert str(wire.decode(text.encode())) == str(expected)  # text, for NaN is not itself
    else:
        with pytest.raises(ValueError):  # noqa: PT011  the reader's own words
            wire.decode(text.encode())


@given(IDS, OBJECTS)
def test_a_result_carries_its_id_as_it_came(identity: Any, result: dict[str, Any]) -> None:
    line = wire.encode_result(identity, wire.encode(result))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    frame = wire.decode(line)
    assert frame == {"jsonrpc": "2.0", "id": identity, "result": result}
    assert type(frame["id"]) is type(identity)


@given(IDS, st.integers(), st.text())
def test_an_error_carries_code_and_message_and_no_more(identity: Any, code: int, message: str) -> None:
    line = wire.encode_error(identity, code, message)
    assert line.count(b"\n") == 1
    error = {"code": code, "message": message}
    assert wire.decode(line) == {"jsonrpc": "2.0", "id": identity, "error": error}


@given(st.integers(min_value=1), OBJECTS)
def test_a_request_is_one_compact_line(number: int, params: dict[str, Any]) -> None:
    line = wire.encode_request(number, "tasks.start", params)
    assert line.count(b"\n") == 1
    assert wire.decode(line) == {"jsonrpc": "2.0", "id": number, "method": "tasks.start", "params": params}


@pytest.mark.parametrize("depth", [10, 500])
def test_a_deep_frame_is_read(depth: int) -> None:
    frame: object = wire.decode(b'{"a":' * depth + b"1" + b"}" * depth)
    for _ in range(depth):
        assert isinstance(frame, dict)
        frame = frame["a"]
    assert frame == 1


@pytest.mark.parametrize(
    "text", [b'{"a":' * 200_000, b"[" * 200_000, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
)
def test_a_frame_that_is_nested_too_deeply_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting"):
        wire.decode(text)


def test_of_duplicate_keys_the_last_wins() -> None:
    assert wire.decode(b'{"a":1,"b":2,"a":3}') == {"a": 3, "b": 2}


@given(st.recursive(st.floats() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_number_that_json_lacks_becomes_null(value: Any) -> None:
    def plain(part: Any) -> Any:
        if isinstance(part, float):
            return part if math.isfinite(part) else None
        if isinstance(part, list):
            return [plain(item) for item in part]
        return {key: plain(item) for key, item in part.items()} if isinstance(part, dict) else part

    text = wire.encode(value)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == plain(value)


class Model(pydantic.BaseModel):
    when: decimal.Decimal = decimal.Decimal("0.10")
    inner: dict[str, int] = {"a": 1}


class Struct(msgspec.Struct):
    a: int
    b: list[Model]


@dataclasses.dataclass
class Point:
    x: int
    inner: Struct | None = None


@dataclasses.dataclass(slots=True)
class Slotted:
    x: float


class Level(enum.IntEnum):
    HIGH = 2


class Word(enum.StrEnum):
    RED = "red"


class Lookup(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return len(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "bb"])

    def __len__(self) -> int:
        return 2


class Array:
    """Stands for NumPy's and torch's arrays."""

    def tolist(self) -> list[float]:
        return [0.5, float("nan")]


class Attrs:
    """Stands for classes made by attrs."""

    @dataclasses.dataclass
    class _Attribute:
        name: str

    __attrs_attrs__ = (_Attribute("x"),)
    x = 7


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Model(), {"when": "0.10", "inner": {"a": 1}}),
        (Point(1, Struct(2, [Model()])), {"x": 1, "inner": {"a": 2, "b": [{"when": "0.10", "inner": {"a": 1}}]}}),
        (Slotted(float("inf")), {"x": None}),
        (Level.HIGH, 2),
        (Word.RED, "red"),
        (Lookup(), {"a": 1, "bb": 2}),
        (Array(), [0.5, None]),
        (Attrs(), {"x": 7}),
        ((1, (2,)), [1, [2]]),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, {"1": "a", "null": "b", "false": "c", "1.5": "d"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_authors_yield_is_written_as_plain_json(value: Any, plain: Any) -> None:
    assert json.loads(wire.encode(value)) == plain


class Opaque:
    def __repr__(self) -> str:
        return "Opaque()"


@pytest.mark.parametrize("value", [Opaque(), {1, 2}, b"x", object, 1j, {"a": [Opaque()]}, {(1, 2): 3}], ids=repr)
def test_what_has_no_json_form_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"is not JSON serializable|keys must be"):
        wire.encode(value)


def test_what_contains_itself_is_a_value_error() -> None:
    endless: list[Any] = [float("nan")]
    endless.append(endless)
    with pytest.raises(ValueError, match="Circular"):
        wire.encode(endless)


def test_the_numbers_of_the_protocol() -> None:
    assert wire.LIMIT_BYTES == 16_777_216
    assert wire.DEFAULT_PORT == 8765
    assert (wire.PARSE_ERROR, wire.INVALID_REQUEST, wire.BUSY) == (-32700, -32600, -32600)
    assert (wire.METHOD_NOT_FOUND, wire.INVALID_PARAMS, wire.INTERNAL_ERROR) == (-32601, -32602, -32603)
    assert (wire.TASK_ERROR, wire.NOTHING_TO_GRADE) == (-32000, "no task in progress")
