"""JSON values into the types an author wrote down, or a refusal that says what was expected."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import fractions
import pathlib
import typing
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import pytest

from hud.environment import Environment
from hud.environment.coercion import Mismatch, coerce
from hud.environment.template import BadArguments
from hud.errors import EnvironmentLoadError
from tests.hud.environment import types_of_authors as authors
from tests.hud.environment.probe import Steps
from tests.hud.environment.types_of_authors import (
    Bound,
    Box,
    Checked,
    Color,
    Corner,
    Guess,
    Level,
    Loose,
    Model,
    Nested,
    Odd,
    Pair,
    Path2,
    Point,
    Row,
    Short,
    Small,
    Strict,
    Struct,
    Tree,
    UserId,
)

UUID_TEXT = "12345678-1234-5678-1234-567812345678"
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)

FITTING: list[tuple[Any, Any, Any]] = [
    (int, 5, 5),
    (int, "5", 5),
    (int, " -5 ", -5),
    (int, 5.0, 5),
    (int, True, 1),
    (float, 1, 1.0),
    (float, "1e3", 1000.0),
    (float, 0.5, 0.5),
    (bool, True, True),
    (bool, "yes", True),
    (bool, "Off", False),
    (bool, 0, False),
    (bool, 1.0, True),
    (str, "", ""),
    (str, "5", "5"),
    (None, None, None),
    (None, "null", None),
    (Any, {"a": [1]}, {"a": [1]}),
    (object, "x", "x"),
    (UserId, "7", 7),
    (int | None, None, None),
    (int | None, "5", 5),
    (int | None, "null", None),
    (typing.Optional[int], "5", 5),  # noqa: UP045
    (int | str, "5", "5"),
    (str | int, 5, 5),
    (int | list[int], "[1]", [1]),
    (list[int] | dict[str, int], {"a": "1"}, {"a": 1}),
    (float | int, 5, 5),
    (bool | int, 1, 1),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, "1"], "1", "1"),
    (Literal[1], "1", 1),
    (Literal[True], True, True),
    (Literal[Color.RED, None], "red", Color.RED),
    (list, [1, "a"], [1, "a"]),
    (list[int], ["1", 2], [1, 2]),
    (list[int], "[1, 2]", [1, 2]),
    (list[list[bool]], [["yes"], [0]], [[True], [False]]),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, "2"], (1, 2)),
    (set[int], [1, 1, "2"], {1, 2}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (collections.abc.Sequence[int], ["1"], [1]),
    (collections.abc.Iterable[int], ["1"], [1]),
    (dict, {"a": 1}, {"a": 1}),
    (dict[str, int], {"a": "1"}, {"a": 1}),
    (dict[int, list[int]], {"1": ["2"]}, {1: [2]}),
    (collections.abc.Mapping[str, float], {"a": 1}, {"a": 1.0}),
    (Color, "red", Color.RED),
    (Color, "RED", Color.RED),
    (Level, 2, Level.HIGH),
    (Level, "2", Level.HIGH),
    (Level, "LOW", Level.LOW),
    (Corner, "ORIGIN", Corner.ORIGIN),
    (Point, {"x": "1"}, Point(1)),
    (Point, '{"x": 1, "y": "2"}', Point(1, 2)),
    (Point, {"x": 1, "label": None}, Point(1, 0, None)),
    (Path2, {"points": [{"x": 1}], "color": "blue"}, Path2([Point(1)], Color.BLUE)),
    (Tree, {"value": 1, "children": [{"value": "2"}]}, Tree(1, [Tree(2)])),
    (Odd, {"given": "1"}, Odd(given=1)),
    (Box[int], {"content": "1", "others": ["2"]}, Box(1, [2])),
    (Box[Point], {"content": {"x": 1}}, Box(Point(1))),
    (list[Point | int], [{"x": 1}, "2"], [Point(1), 2]),
    (Row, {"name": "a"}, {"name": "a"}),
    (Row, {"name": "a", "size": "1"}, {"name": "a", "size": 1}),
    (Loose, {}, {}),
    (Pair, {"left": "1"}, Pair(1)),
    (Pair, [1, "x"], Pair(1, "x")),
    (datetime.datetime, "2026-01-02T03:04:05+00:00", MOMENT),
    (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
    (datetime.time, "03:04", datetime.time(3, 4)),
    (uuid.UUID, UUID_TEXT, uuid.UUID(UUID_TEXT)),
    (decimal.Decimal, "0.10", decimal.Decimal("0.10")),
    (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
    (decimal.Decimal, 3, decimal.Decimal(3)),
    (fractions.Fraction, "1/3", fractions.Fraction(1, 3)),
    (pathlib.Path, "/a/b", pathlib.Path("/a/b")),
    (Model, {"count": 3}, Model(count=3)),
    (Model, '{"count": "3"}', Model(count=3)),
    (Nested, {"models": [{"count": 1}], "parent": None}, Nested(models=[Model(count=1)])),
    (list[Model], [{"count": 1}], [Model(count=1)]),
    (Model | None, None, None),
    (Small, "2", 2),
    (pydantic.HttpUrl, "http://a.example/", pydantic.HttpUrl("http://a.example/")),
    (Struct, {"size": 3}, Struct(size=3)),
    (Struct, '{"size": 3}', Struct(size=3)),
    (Short, "abc", "abc"),
    (Annotated[int, "a note"], "5", 5),
    (Annotated[int, Bound(ge=1, lt=3)], "2", 2),
]


def shown(case: tuple[Any, ...]) -> str:
    return f"{getattr(case[0], '__name__', case[0])}-{case[1]!r}"[:60].replace("0x", "")


@pytest.mark.parametrize(("annotation", "value", "fitted"), FITTING, ids=[shown(case) for case in FITTING])
def test_a_value_becomes_an_instance_of_its_annotation(annotation: Any, value: Any, fitted: Any) -> None:
    result = coerce(value, annotation)
    assert result == fitted
    assert type(result) is type(fitted)


REFUSED: list[tuple[Any, Any, str]] = [
    (int, "zz", "an integer, got 'zz'"),
    (int, 1.5, "an integer, got 1.5"),
    (int, None, "an integer, got None"),
    (int, [1], "an integer, got [1]"),
    (int, "", "an integer, got ''"),
    (int, float("inf"), "an integer, got inf"),
    (float, "x", "a number, got 'x'"),
    (float, 10**400, f"a number, got 1{'0' * 76}..."),
    (bool, "maybe", "a boolean, got 'maybe'"),
    (bool, 2, "a boolean, got 2"),
    (bool, None, "a boolean, got None"),
    (str, 5, "a string, got 5"),
    (str, None, "a string, got None"),
    (None, "x", "null, got 'x'"),
    (int | None, "zz", "an integer or null, got 'zz'"),
    (Literal["a", "b"], "c", "one of 'a', 'b', got 'c'"),
    (Literal[1], True, "one of 1, got True"),
    (list[int], 5, "a list whose items are each an integer, got 5"),
    (list[int], ["zz"], "an integer, got 'zz'"),
    (list[int], "abc", "a list whose items are each an integer, got 'abc'"),
    (list[str], "abc", "a list whose items are each a string, got 'abc'"),
    (tuple[int, str], [1], "a list of 2 items, got 1"),
    (set[Any], [[1]], "a set: unhashable type: 'list'"),
    (dict[str, int], [1], "an object, got [1]"),
    (dict[str, int], {"a": "zz"}, "an integer, got 'zz'"),
    (dict[Any, Any], 5, "an object, got 5"),
    (Color, "green", "one of 'red', 'blue', got 'green'"),
    (Color, ["red"], "one of 'red', 'blue', got ['red']"),
    (Guess, 2, "one of 1, got 2"),
    (Point, 5, "a Point, got 5"),
    (Point, {}, "a Point with the field 'x'"),
    (Point, {"x": 1, "z": 1}, "a Point, which has no field 'z'"),
    (Point, {"x": "zz"}, "a Point whose 'x' is an integer, got 'zz'"),
    (Path2, {"points": [{"x": None}]}, "a Path2 whose 'points' is a Point whose 'x' is an integer, got None"),
    (Checked, {"value": -1}, "a Checked: value is negative"),
    (Odd, {"made": 1}, "a Odd, which has no field 'made'"),
    (Odd, {"limit": 1}, "a Odd, which has no field 'limit'"),
    (Box[int], {"content": "zz"}, "a Box whose 'content' is an integer, got 'zz'"),
    (Row, {}, "a Row with the field 'name'"),
    (Row, {"name": "a", "other": 1}, "a Row, which has no field 'other'"),
    (Pair, [1, "x", 2], "a Pair, got [1, 'x', 2]"),
    (datetime.datetime, "yesterday", "a datetime, got 'yesterday'"),
    (datetime.datetime, 5, "a datetime, got 5"),
    (uuid.UUID, "x", "a UUID, got 'x'"),
    (decimal.Decimal, "x", "a Decimal, got 'x'"),
    (decimal.Decimal, True, "a Decimal, got True"),
    (fractions.Fraction, "1/0", "a Fraction, got '1/0'"),
    (pathlib.Path, 5, "a Path, got 5"),
    (Annotated[int, Bound(ge=1)], 0, "at least 1, got 0"),
    (Annotated[str, Bound(max_length=2)], "abc", "of a length of at most 2, got 'abc'"),
]


@pytest.mark.parametrize(("annotation", "value", "reason"), REFUSED, ids=[shown(case) for case in REFUSED])
def test_a_value_that_does_not_fit_is_refused_with_what_was_expected(annotation: Any, value: Any, reason: str) -> None:
    with pytest.raises(Mismatch) as refusal:
        coerce(value, annotation)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (Model, {"count": 11}, ["Model", "count", "less than or equal to 10"]),
        (Model, {}, ["Model", "count", "Field required"]),
        (Model, 5, ["Model"]),
        (Strict, {"value": 13}, ["Strict", "unlucky"]),
        (Small, 4, ["an integer", "less than or equal to 3"]),
        (pydantic.HttpUrl, "nope", ["HttpUrl", "URL"]),
        (Struct, {"size": -1}, ["Struct", ">= 0", "$.size"]),
        (Struct, {}, ["Struct", "size"]),
        (Short, "abcd", ["a string", "<= 3"]),
    ],
    ids=repr,
)
def test_types_of_pydantic_and_msgspec_are_checked_by_their_own_rules(
    annotation: Any, value: Any, words: list[str]
) -> None:
    with pytest.raises(Mismatch) as refusal:
        coerce(value, annotation)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


Declare = Callable[[Callable[..., Steps]], Any]


@pytest.fixture
def declare() -> Declare:
    """Declare a template in a new environment."""
    return lambda function: Environment("arguments").template()(function)


async def opened(template: Any, arguments: dict[str, Any]) -> Any:
    """Start a template that yields its arguments, and give them."""
    generator = template.open(arguments)
    try:
        return await anext(generator)
    finally:
        await generator.aclose()


async def test_positional_only_keyword_only_and_further_arguments_reach_the_template(declare: Declare) -> None:
    async def kinds(a: int, b: int = 2, /, c: int = 3, *rest: int, d: int, _e: int = 5, **more: int) -> Steps:
        yield a, b, c, rest, d, _e, more

    template = declare(kinds)
    assert await opened(template, {"a": "1", "d": "4"}) == (1, 2, 3, (), 4, 5, {})
    given = {"a": 1, "b": "7", "c": "8", "d": 4, "_e": "9", "x": "raw"}
    assert await opened(template, given) == (1, 7, 8, (), 4, 9, {"x": "raw"})


async def test_unannotated_arguments_are_untouched(declare: Declare) -> None:
    async def plain(a, b=None):  # type: ignore[no-untyped-def]
        yield a, b

    assert await opened(declare(plain), {"a": "5", "b": [1]}) == ("5", [1])


async def test_defaults_are_not_coerced(declare: Declare) -> None:
    async def odd(a: int = "not a number") -> Steps:  # type: ignore[assignment]
        yield a

    assert await opened(declare(odd), {}) == "not a number"


async def test_forward_references_are_resolved(declare: Declare) -> None:
    async def forward(point: "Point", points: "list[authors.Point]") -> Steps:  # noqa: UP037
        yield point, points

    given = {"point": {"x": 1}, "points": [{"x": 2}]}
    assert await opened(declare(forward), given) == (Point(1), [Point(2)])


async def test_a_wrapped_template_keeps_the_signature_of_what_it_wraps(declare: Declare) -> None:
    import functools

    def logged(function: Callable[..., Steps]) -> Callable[..., Steps]:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Steps:
            async for item in function(*args, **kwargs):
                yield item

        return wrapper

    @logged
    async def inner(a: int) -> Steps:
        yield a

    template = declare(inner)
    assert await opened(template, {"a": "5"}) == 5
    with pytest.raises(BadArguments, match="missing a required argument: 'a'"):
        template.open({})


@pytest.mark.parametrize(
    "annotation",
    [
        *(bytes, complex, Callable[[], int], type[int], collections.abc.Iterator[int], collections.deque),
        *(datetime.timedelta, list[bytes], bytes | None, dict[str, complex], authors.Raw, tuple[int, bytes]),
        *(Literal[b"x"], Steps, 5, [int], {"a": int}, object()),
    ],
    ids=lambda value: str(value)[:40].split(" at ")[0],
)
def test_an_annotation_no_json_value_can_have_is_refused_by_name_before_serving(annotation: Any) -> None:
    environment = Environment("unsupported")

    async def odd(fine: int, broken: Any = None) -> Steps:
        yield fine, broken

    odd.__annotations__["broken"] = annotation
    environment.template()(odd)
    with pytest.raises(EnvironmentLoadError) as refusal:
        environment.check()
    assert refusal.value.message.startswith("argument 'broken' of template 'odd' has the type ")
    assert refusal.value.message.endswith(", which JSON cannot carry")


@pytest.mark.parametrize("annotation", ["NoSuch", "list[NoSuch]", "list[int", "authors.NoSuch", "authors.Dangling"])
def test_an_annotation_that_does_not_resolve_is_refused_before_serving(annotation: str) -> None:
    environment = Environment("unresolved")

    async def odd(broken: Any) -> Steps:
        yield broken

    odd.__annotations__["broken"] = annotation
    environment.template()(odd)
    with pytest.raises(EnvironmentLoadError, match="an annotation of template 'odd' does not resolve: "):
        environment.check()


def test_an_answer_type_no_json_value_can_have_is_refused_before_serving() -> None:
    environment = Environment("unsupported")

    @environment.template(returns=bytes)
    async def odd() -> Steps:
        yield 0

    with pytest.raises(EnvironmentLoadError, match="the answer of template 'odd' has the type"):
        environment.check()


@pytest.mark.parametrize(
    ("returns", "answer", "content"),
    [
        (int, "5", 5),
        (int, 5, 5),
        (int, "five", "five"),
        (str, "5", "5"),
        (str, '"quoted"', "quoted"),
        (str, 5, 5),
        (bool, "yes", True),
        (list[int], "[1, 2]", [1, 2]),
        (Model, '{"count": 3}', Model(count=3)),
        (Model, '{"count": 11}', '{"count": 11}'),
        (Checked, {"value": -1}, {"value": -1}),
        (set[Any], "[[1]]", "[[1]]"),
        (float, 10**400, 10**400),
        (Tree, "[" * 100_000, "[" * 100_000),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"type": "object"}, "text", "text"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_typed_answer_is_read_leniently_and_kept_as_it_is_otherwise(returns: Any, answer: Any, content: Any) -> None:
    environment = Environment("typed")

    @environment.template(returns=returns)
    async def typed() -> Steps:
        yield 0

    received = typed.receive(answer)
    assert received.content == content
    assert received.raw == (answer if isinstance(answer, str) else str(answer))


def test_an_argument_nested_too_deeply_is_refused_by_name(declare: Declare) -> None:
    async def deep(tree: Tree) -> Steps:
        yield tree

    value: dict[str, Any] = {"value": 0}
    for _ in range(900):
        value = {"value": 0, "children": [value]}
    with pytest.raises(BadArguments, match="task 'deep': bad args \\['tree'\\]: 'tree' is nested too deeply"):
        declare(deep).open({"tree": value})
