"""Binding arguments to a template, held against `inspect.signature`."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.environment import Environment
from hud.environment.signature import Signature
from tests.hud.environment.probe import Steps

NAMES = st.sampled_from("abcdef")


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """Make a function with parameters of every kind; it gives what it was called with."""
    names = draw(st.lists(NAMES, unique=True, max_size=5))
    only_positional = draw(st.integers(0, len(names)))
    only_keyword = draw(st.integers(only_positional, len(names)))
    first_default = draw(st.integers(0, only_keyword))
    parts = []
    for index, name in enumerate(names):
        has_default = draw(st.booleans()) if index >= only_keyword else index >= first_default
        if index == only_keyword:
            parts.append("*rest" if draw(st.booleans()) else "*")
        parts.append(f"{name}={index}" if has_default else name)
        if index + 1 == only_positional:
            parts.append("/")
    if draw(st.booleans()):
        parts.append("**more")
    namespace: dict[str, Any] = {}
    exec(f"def function({', '.join(parts)}): return locals()", namespace)
    return namespace["function"]


@given(functions(), st.dictionaries(NAMES, st.integers(), max_size=5))
def test_arguments_bind_by_name_exactly_when_python_would_bind_them(function: Any, arguments: dict[str, int]) -> None:
    """Positional-only parameters are the exception: a task names them, too."""
    signature = inspect.signature(function)
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    positional: list[Any] = []
    named = dict(arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            break
        if name in named:
            positional.append(named.pop(name))
        elif parameter.default is not inspect.Parameter.empty:
            positional.append(parameter.default)
        else:
            break
    left_out = any(kinds.get(name) is inspect.Parameter.POSITIONAL_ONLY for name in named)
    ours = Signature(function)
    try:
        if left_out:
            raise TypeError
        expected = function(*positional, **named)
    except TypeError:
        with pytest.raises(TypeError, match=r"missing a required argument|unexpected keyword argument"):
            ours.check_names(arguments)
    else:
        ours.check_names(arguments)
        args, kwargs = ours.split(arguments)
        assert function(*args, **kwargs) == expected


@given(functions(), st.lists(st.integers(), max_size=5), st.dictionaries(NAMES, st.integers(), max_size=4))
def test_a_template_is_called_as_python_would_call_it(
    function: Any, positional: list[int], named: dict[str, int]
) -> None:
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    # Tasks bind by name: what `*args` would take is refused, and a positional-only parameter may be named.
    only = {parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY}
    slots = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if only & named.keys():
        return
    try:
        if len(positional) > len(slots):
            raise TypeError
        bound = signature.bind(*positional, **named).arguments
        bound.update(bound.pop("more", {}))
        expected = dict(bound)
    except TypeError:
        with pytest.raises(TypeError):
            Signature(function).bind(tuple(positional), named)
    else:
        assert Signature(function).bind(tuple(positional), named) == expected


@given(functions())
def test_parameters_are_those_python_knows(function: Any) -> None:
    expected = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    ours = Signature(function)
    assert list(ours.parameters) == list(expected)
    assert ours.required == [name for name, default in expected.items() if default is inspect.Parameter.empty]
    assert ours.open == any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def test_a_row_holds_only_the_arguments_that_were_passed() -> None:
    environment = Environment("rows")

    @environment.template(id="it")
    async def template(a: int, b: int = 2, *, c: int = 3) -> Steps:
        yield a, b, c

    task = template(1, c=5)
    assert (task.env, task.id, task.args) == ("rows", "it", {"a": 1, "c": 5})
    assert task.environment is environment


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"a": 2}, "multiple values for argument 'a'"),
        ((1,), {"z": 2}, "got an unexpected keyword argument 'z'"),
    ],
)
def test_a_bad_call_of_a_template_is_a_type_error(args: Any, kwargs: Any, message: str) -> None:
    environment = Environment("rows")

    @environment.template()
    async def template(a: int, b: int = 2) -> Steps:
        yield a, b

    with pytest.raises(TypeError, match=message):
        template(*args, **kwargs)


def test_a_bound_method_is_a_template_without_its_self() -> None:
    class Tasks:
        async def solve(self, a: int) -> Steps:
            yield self, a

    environment = Environment("methods")
    template = environment.template()(Tasks().solve)
    assert template.id == "solve"
    assert template(3).args == {"a": 3}


def not_a_generator() -> None: ...


async def a_coroutine() -> None: ...


def a_generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    "function",
    [not_a_generator, a_coroutine, a_generator, len, 5],
    ids=["def", "coroutine", "generator", "builtin", "number"],
)
def test_only_async_generators_are_templates(function: Any) -> None:
    with pytest.raises(TypeError, match="must be an async generator"):
        Environment("strict").template()(function)
