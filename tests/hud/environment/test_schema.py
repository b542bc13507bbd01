"""The JSON Schemas that `tasks.list` publishes."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
import pathlib
import uuid
from typing import Annotated, Any, Literal

import pydantic
import pytest

from hud.environment import Environment
from hud.environment.schema import Definitions, declared_schema, type_schema
from hud.environment.template import Template
from tests.hud.environment.probe import Steps
from tests.hud.environment.types_of_authors import (
    Bound,
    Box,
    Color,
    Corner,
    Level,
    Model,
    Nested,
    Odd,
    Pair,
    Path2,
    Point,
    Row,
    Short,
    Small,
    Struct,
    Tree,
    UserId,
)

PLAIN: list[tuple[Any, dict[str, Any]]] = [
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (str, {"type": "string"}),
    (None, {"type": "null"}),
    (Any, {}),
    (UserId, {"type": "integer"}),
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
    (Literal["a"], {"const": "a", "type": "string"}),
    (Literal[1, "a"], {"enum": [1, "a"]}),
    (Literal[Color.RED, Color.BLUE], {"enum": ["red", "blue"], "type": "string"}),
    (list, {"type": "array", "items": {}}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (
        tuple[int, str],
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
    ),
    (dict, {"type": "object", "additionalProperties": True}),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    (datetime.datetime, {"type": "string", "format": "date-time"}),
    (datetime.date, {"type": "string", "format": "date"}),
    (uuid.UUID, {"type": "string", "format": "uuid"}),
    (decimal.Decimal, {"type": "string", "format": "decimal"}),
    (pathlib.Path, {"type": "string", "format": "path"}),
    (Small, {"type": "integer", "minimum": 1, "maximum": 3}),
    (Short, {"type": "string", "maxLength": 3}),
    (
        Annotated[list[int], pydantic.Field(min_length=1)],
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
    ),
    (Annotated[float, Bound(gt=0, multiple_of=2)], {"type": "number", "exclusiveMinimum": 0, "multipleOf": 2}),
    (Annotated[str, pydantic.Field(pattern="^a")], {"type": "string", "pattern": "^a"}),
]


@pytest.mark.parametrize(("annotation", "schema"), PLAIN, ids=[str(case[0])[:50] for case in PLAIN])
def test_a_type_is_described(annotation: Any, schema: dict[str, Any]) -> None:
    definitions = Definitions()
    assert type_schema(annotation, definitions) == schema
    assert definitions == {}


NAMED: list[tuple[Any, str, dict[str, Any]]] = [
    (Color, "Color", {"enum": ["red", "blue"], "type": "string", "title": "Color"}),
    (Level, "Level", {"enum": [1, 2], "type": "integer", "title": "Level"}),
    (Corner, "Corner", {"enum": ["ORIGIN"], "type": "string", "title": "Corner"}),
    (
        Point,
        "Point",
        {
            "properties": {
                "x": {"type": "integer", "title": "X"},
                "y": {"default": 0, "type": "integer", "title": "Y"},
                "label": {"default": None, "anyOf": [{"type": "string"}, {"type": "null"}], "title": "Label"},
            },
            "title": "Point",
            "type": "object",
            "required": ["x"],
        },
    ),
    (
        Odd,
        "Odd",
        {
            "properties": {"given": {"default": 0, "type": "integer", "title": "Given"}},
            "title": "Odd",
            "type": "object",
        },
    ),
    (
        Row,
        "Row",
        {
            "properties": {"name": {"type": "string", "title": "Name"}, "size": {"type": "integer", "title": "Size"}},
            "title": "Row",
            "type": "object",
            "required": ["name"],
        },
    ),
    (
        Tree,
        "Tree",
        {
            "properties": {
                "value": {"type": "integer", "title": "Value"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "title": "Children"},
            },
            "title": "Tree",
            "type": "object",
            "required": ["value"],
        },
    ),
    (
        Box[int],
        "Box_int",
        {
            "properties": {
                "content": {"type": "integer", "title": "Content"},
                "others": {"type": "array", "items": {"type": "integer"}, "title": "Others"},
            },
            "title": "Box",
            "type": "object",
            "required": ["content"],
        },
    ),
]


@pytest.mark.parametrize(("annotation", "name", "definition"), NAMED, ids=[case[1] for case in NAMED])
def test_a_named_type_is_a_reference_to_its_definition(annotation: Any, name: str, definition: Any) -> None:
    definitions = Definitions()
    assert type_schema(annotation, definitions) == {"$ref": f"#/$defs/{name}"}
    assert definitions == {name: definition}


def test_types_inside_a_named_type_are_defined_beside_it() -> None:
    definitions = Definitions()
    type_schema(Path2, definitions)
    assert set(definitions) == {"Path2", "Point", "Color"}
    assert definitions["Path2"]["required"] == ["points"]


def test_two_types_of_one_name_are_told_apart() -> None:
    other = dataclasses.make_dataclass("Point", [("z", float)])
    other.__module__ = "elsewhere"
    definitions = Definitions()
    first, second = type_schema(Point, definitions), type_schema(other, definitions)
    assert first == {"$ref": "#/$defs/Point"}
    assert second == {"$ref": "#/$defs/elsewhere.Point"}
    assert set(definitions["elsewhere.Point"]["properties"]) == {"z"}
    assert type_schema(other, definitions) == second


@pytest.mark.parametrize("annotation", [Model, Nested, Struct, list[Model], Model | None], ids=str)
def test_every_reference_has_its_definition(annotation: Any) -> None:
    definitions = Definitions()
    schema = type_schema(annotation, definitions)
    text = json.dumps([schema, definitions])
    references = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert references
    assert references <= set(definitions)


def test_bounds_of_a_pydantic_model_are_published() -> None:
    definitions = Definitions()
    assert type_schema(Model, definitions) == {"$ref": "#/$defs/Model"}
    count = definitions["Model"]["properties"]["count"]
    assert (count["minimum"], count["maximum"], count["type"]) == (1, 10, "integer")
    assert definitions["Model"]["required"] == ["count"]


def test_bounds_of_a_msgspec_struct_are_published() -> None:
    definitions = Definitions()
    assert type_schema(Struct, definitions) == {"$ref": "#/$defs/Struct"}
    assert definitions["Struct"]["properties"]["size"] == {"type": "integer", "minimum": 0}
    assert definitions["Struct"]["required"] == ["size"]


def listed(template: Template) -> dict[str, Any]:
    """Give the arguments' properties as they travel."""
    row: dict[str, Any] = json.loads(json.dumps(template.row(), allow_nan=False))
    properties: dict[str, Any] = row["args"]["properties"]
    return properties


class Opaque:
    def __str__(self) -> str:
        return "opaque"


@pytest.mark.parametrize(
    ("default", "shown"),
    [
        (None, None),
        (5, 5),
        ([1, (2,)], [1, [2]]),
        ({"a": Color.RED}, "{'a': <Color.RED: 'red'>}"),
        (Color.RED, "red"),
        (Corner.ORIGIN, "ORIGIN"),
        (Point(1), {"x": 1, "y": 0, "label": None}),
        (Model(count=1), {"count": 1, "name": "n"}),
        (Pair(1), [1, "r"]),
        (Opaque(), "opaque"),
        (float("inf"), None),
        (frozenset(), "frozenset()"),
        (b"x", "b'x'"),
    ],
    ids=lambda value: repr(value)[:40].split(" at ")[0],
)
def test_a_default_of_any_kind_is_published(default: Any, shown: Any) -> None:
    environment = Environment("defaults")

    @environment.template()
    async def template(a: Any = default) -> Steps:
        yield a

    assert listed(template)["a"]["default"] == shown


def test_one_template_with_an_odd_default_does_not_spoil_the_list_of_all() -> None:
    endless: list[Any] = []
    endless.append(endless)
    environment = Environment("odd")

    @environment.template()
    async def odd(a: Any = endless) -> Steps:
        yield a

    assert listed(odd)["a"]["default"] == "[[...]]"


def test_every_published_schema_is_json() -> None:
    environment = Environment("all")

    @environment.template(input=Path2, returns=list[Nested])
    async def everything(
        a: Point, b: Row, c: Pair, d: Tree, e: Model, f: Struct, g: Level, h: Box[Point], i: Small = 1
    ) -> Steps:
        yield a, b, c, d, e, f, g, h, i

    row = json.loads(json.dumps(everything.row(), allow_nan=False))
    assert row["input"]["title"] == "Path2"
    assert set(row["input"]["$defs"]) == {"Point", "Color"}
    assert row["returns"]["items"] == {"$ref": "#/$defs/Nested"}
    assert set(row["args"]["$defs"]) >= {"Point", "Row", "Pair", "Tree", "Model", "Struct", "Level", "Box_Point"}


@dataclasses.dataclass
class Worded:
    """What a request is."""

    size: Annotated[int, pydantic.Field(title="How much", description="In bytes.", json_schema_extra={"unit": "B"})]


def test_the_authors_words_are_published() -> None:
    assert declared_schema(Worded) == {
        "title": "Worded",
        "description": "What a request is.",
        "type": "object",
        "properties": {"size": {"type": "integer", "title": "How much", "description": "In bytes.", "unit": "B"}},
        "required": ["size"],
    }


def test_a_declared_type_that_contains_itself_is_a_reference() -> None:
    schema = declared_schema(Tree)
    assert schema["$ref"] == "#/$defs/Tree"
    assert set(schema["$defs"]) == {"Tree"}


def test_a_declared_schema_is_left_alone() -> None:
    schema = {"type": "string", "$ref": "elsewhere"}
    assert declared_schema(schema) is schema
