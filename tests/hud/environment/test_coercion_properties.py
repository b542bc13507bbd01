"""Coercion never fails open: what comes out is of the type, or nothing comes out."""

from __future__ import annotations

import enum
import types
import typing
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hud.environment.coercion import Mismatch, coerce, describe, unsupported
from hud.environment.schema import Definitions, type_schema
from tests.hud.environment.types_of_authors import Color, Level, Loose, Pair, Path2, Point, Row, Tree

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**320)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5", "yes", "null", "[1]", '{"x": 1}', "red", "LOW", "NaN", "1e999", "[[", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "a", "1"]), inner, max_size=3)
    ),
    max_leaves=6,
)

LEAVES = [int, float, bool, str, type(None), Any, Color, Level, Point, Path2, Row, Loose, Pair, Tree]
CHOICES = [Literal["a", 1], Literal[True], Literal[Color.RED]]


def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda part: list[part]),  # type: ignore[valid-type]
        inner.map(lambda part: set[part]),  # type: ignore[valid-type]
        inner.map(lambda part: tuple[part, ...]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda parts: tuple[parts]),  # type: ignore[valid-type]
        inner.map(lambda part: dict[str, part]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda parts: dict[parts[0], parts[1]]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda parts: typing.Union[parts]),  # noqa: UP007
    )


ANNOTATIONS = st.recursive(st.sampled_from(LEAVES + CHOICES), wider, max_leaves=4)


def conforms(value: Any, annotation: Any) -> bool:
    """Tell whether a value is of a type; written out here to be held against the implementation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return True
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return any(conforms(value, choice) for choice in arguments)
    if origin is dict:
        key, item = arguments
        return type(value) is dict and all(conforms(k, key) and conforms(v, item) for k, v in value.items())
    if origin is tuple and arguments[-1] is not Ellipsis:
        return (
            type(value) is tuple
            and len(value) == len(arguments)
            and all(conforms(item, part) for item, part in zip(value, arguments, strict=True))
        )
    if origin is not None:
        return type(value) is origin and all(conforms(item, arguments[0]) for item in value)
    if typing.is_typeddict(annotation):
        hints = typing.get_type_hints(annotation)
        return type(value) is dict and value.keys() <= hints.keys() and all(conforms(value[k], hints[k]) for k in value)
    if annotation in (Point, Path2, Tree, Pair):
        hints = typing.get_type_hints(annotation)
        return type(value) is annotation and all(conforms(getattr(value, name), hint) for name, hint in hints.items())
    return type(value) is annotation


@settings(max_examples=200)
@given(JSON, ANNOTATIONS)
def test_what_is_coerced_is_of_the_type_or_refused(value: Any, annotation: Any) -> None:
    try:
        result = coerce(value, annotation)
    except Mismatch:
        return
    assert conforms(result, annotation), (result, annotation)


def plain(value: Any) -> Any:
    """Give the JSON that stands for a coerced value."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Pair):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return value


EXACT = st.recursive(
    st.sampled_from([int, bool, str, type(None), Color, Level, Point, Path2, Row, Loose, Pair]),
    lambda inner: inner.map(lambda part: list[part]) | inner.map(lambda part: dict[str, part]),  # type: ignore[valid-type]
    max_leaves=3,
)


@settings(max_examples=150)
@given(JSON, EXACT)
def test_a_coerced_value_written_as_json_is_coerced_to_itself(value: Any, annotation: Any) -> None:
    try:
        result = coerce(value, annotation)
    except Mismatch:
        return
    assert coerce(plain(result), annotation) == result


@settings(max_examples=100)
@given(ANNOTATIONS)
def test_every_usable_annotation_has_a_schema_and_words(annotation: Any) -> None:
    assert unsupported(annotation) is None
    assert isinstance(type_schema(annotation, Definitions()), dict)
    assert describe(annotation)


def accepts(schema: dict[str, Any], value: Any, definitions: dict[str, Any]) -> bool:
    """Tell whether a schema of the few keywords that are published accepts a value."""
    if "$ref" in schema:
        return accepts(definitions[schema["$ref"].removeprefix("#/$defs/")], value, definitions)
    if "anyOf" in schema:
        return any(accepts(choice, value, definitions) for choice in schema["anyOf"])
    if "enum" in schema and not any(value == choice and type(value) is type(choice) for choice in schema["enum"]):
        return False
    if "const" in schema and not (value == schema["const"] and type(value) is type(schema["const"])):
        return False
    kind = schema.get("type")
    kinds = {"integer": int, "string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}
    if kind == "number":
        return type(value) is float or (type(value) is int and abs(value) < 10**300)  # what a float can hold
    if kind is not None and type(value) is not kinds[kind]:
        return False
    if kind == "array" and "items" in schema:
        return all(accepts(schema["items"], item, definitions) for item in value)
    if kind == "object":
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties", "properties" not in schema)
        return all(name in value for name in schema.get("required", ())) and all(
            accepts(properties[name], item, definitions)
            if name in properties
            else rest is True or (isinstance(rest, dict) and accepts(rest, item, definitions))
            for name, item in value.items()
        )
    return True


SCHEMED = st.recursive(
    st.sampled_from([int, float, bool, str, type(None), Color, Point, Path2, Row, Loose, *CHOICES]),
    lambda inner: st.one_of(
        inner.map(lambda part: list[part]),  # type: ignore[valid-type]
        inner.map(lambda part: dict[str, part]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda parts: typing.Union[parts]),  # noqa: UP007
    ),
    max_leaves=3,
)


@settings(max_examples=200)
@given(JSON, SCHEMED)
def test_a_value_that_the_schema_accepts_is_coerced(value: Any, annotation: Any) -> None:
    definitions = Definitions()
    schema = type_schema(annotation, definitions)
    if accepts(schema, value, definitions):
        coerce(value, annotation)


@pytest.mark.parametrize("value", ["x" * 100, list(range(1000)), {"k": "v" * 500}], ids=["text", "list", "object"])
def test_a_refusal_stays_short(value: Any) -> None:
    with pytest.raises(Mismatch) as refusal:
        coerce(value, int)
    assert len(str(refusal.value)) < 120
