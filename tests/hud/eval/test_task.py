"""A task row: what it takes, its default slug, and its way through files.

Source: command-line and SDK specification, section 7.
"""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given

from hud import Environment, RuntimeConfig, Task
from hud.errors import UsageError
from hud.eval.task import default_slug
from tests.hud.eval.strategies import json_like, objects, tasks_of

# The slug


def test_the_default_slug_is_the_one_that_every_client_makes() -> None:
    assert Task("e", "count", {"sentence": "Strawberry world", "letter": "r"}).slug == "count-4376680e"
    assert Task("e", "count", {"sentence": "banana", "letter": "a"}).slug == "count-e8d5ddbb"
    assert Task("e", "count").slug == "count"
    assert Task("e", "count", {}).slug == "count"


@given(objects.filter(bool))
def test_the_default_slug_does_not_depend_on_the_order_of_arguments(args: dict[str, Any]) -> None:
    digest = hashlib.sha1(json.dumps(args, sort_keys=True).encode()).hexdigest()[:8]
    backwards = dict(reversed(args.items()))
    assert default_slug("t", args) == default_slug("t", backwards) == f"t-{digest}"


def test_what_json_does_not_know_counts_as_its_text() -> None:
    class Point:
        def __str__(self) -> str:
            return "1,2"

    assert default_slug("t", {"at": Point()}) == default_slug("t", {"at": "1,2"})


def test_a_slug_stays_when_the_arguments_change() -> None:
    task = Task("e", "t", {"a": 1})
    slug = task.slug
    task.args = {"a": 2}
    assert task.slug == slug


# Rows


@given(tasks_of(verifiers=True))
def test_a_row_survives_the_way_through_json(task: Task) -> None:
    again = Task.from_row(json.loads(json.dumps(task.to_row())))
    assert again == task
    assert again.to_row() == task.to_row()
    assert again.slug == task.slug


def test_rows_are_compared_by_what_they_hold() -> None:
    assert Task("e", "t", {"a": 1}) == Task("e", "t", {"a": 1})
    assert Task("e", "t", {"a": 1}) != Task("e", "t", {"a": 2})
    assert Task("e", "t") != "t"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Task("e", "t"))


def test_fields_that_were_not_set_are_left_out() -> None:
    assert Task("e", "t").to_row() == {"env": "e", "id": "t", "args": {}, "slug": "t"}


def test_an_older_row_may_hold_its_environment_as_an_object() -> None:
    assert Task.from_row({"env": {"name": "e"}, "id": "t"}) == Task("e", "t")


def test_a_null_is_as_good_as_nothing() -> None:
    row = dict.fromkeys(("args", "slug", "validation", "agent_config", "columns", "runtime_config", "verifier"))
    assert Task.from_row({"env": "e", "id": "t", **row}) == Task("e", "t")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "t"}, 'a task row needs \'env\': {"id": "t"}'),
        ({"env": "e"}, 'a task row needs \'id\': {"env": "e"}'),
        ({"env": "", "id": "t"}, "a task's env is a non-empty string, got ''"),
        ({"env": {"title": "e"}, "id": "t"}, "a task's env is a non-empty string, got None"),
        ({"env": "e", "id": 3}, "a task's id is a non-empty string, got 3"),
        ({"env": "e", "id": "t", "slug": ""}, "a task's slug is a non-empty string, got ''"),
        ({"env": "e", "id": "t", "args": [1]}, "a task's args is an object, got list"),
        ({"env": "e", "id": "t", "columns": "x"}, "a task's columns is an object, got str"),
        ({"env": "e", "id": "t", "agent_config": 1}, "a task's agent_config is an object, got int"),
        ({"env": "e", "id": "t", "validation": {}}, "a task's validation is a list of calls, got dict"),
        ({"env": "e", "id": "t", "validation": ["x"]}, "a task's validation is a list of objects, with a str in it"),
        ({"env": "e", "id": "t", "runtime_config": "x"}, "a task's runtime_config is an object, got str"),
        ({"env": "e", "id": "t", "runtime_config": {"imag": "x"}}, "runtime config: unknown key imag"),
        ({"env": "e", "id": "t", "verifier": "v"}, "a task's verifier is an object, got str"),
        ({"env": "e", "id": "t", "verifier": {"id": "v"}}, 'a task row needs \'env\': {"id": "v"}'),
        ([], "a task row is an object, got list"),
        (None, "a task row is an object, got NoneType"),
    ],
)
def test_a_malformed_row_is_refused_by_its_field(row: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Task.from_row(row)
    assert caught.value.message == message


@given(json_like)
@pytest.mark.filterwarnings("ignore:a task row has no field")
def test_whatever_stands_in_a_row_it_is_read_or_refused(row: Any) -> None:
    try:
        task = Task.from_row(row)
    except UsageError:
        return
    assert Task.from_row(task.to_row()) == task


# Assignments


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env", ""),
        ("id", None),
        ("slug", 3),
        ("args", "a=1"),
        ("args", {1: 2}),
        ("validation", "x"),
        ("runtime_config", 3),
        ("runtime_config", {"resources": {"cpu": 0}}),
        ("verifier", "v"),
        ("verifier", Task("e", "t", verifier=Task("e", "v"))),
    ],
)
def test_an_assignment_is_checked_and_a_refused_one_changes_nothing(field: str, value: object) -> None:
    task = Task("e", "t", {"a": 1})
    before = task.to_row()
    with pytest.raises(UsageError):
        setattr(task, field, value)
    assert task.to_row() == before


def test_a_row_takes_no_other_fields() -> None:
    with pytest.raises(AttributeError):
        Task("e", "t").metadata = {}


def test_a_row_keeps_arguments_of_its_own() -> None:
    args = {"a": 1}
    task = Task("e", "t", args)
    args["a"] = 2
    assert task.args == {"a": 1}


@pytest.mark.parametrize("args", [{"a": {1: 2, "b": 3}}, {"a": {(1, 2): 3}}])
def test_arguments_without_a_json_form_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="the arguments of task 't' have no JSON form"):
        Task("e", "t", args)


def test_a_runtime_config_may_be_given_in_its_json_form() -> None:
    task = Task("e", "t", runtime_config={"image": "i"})
    assert task.runtime_config == RuntimeConfig(image="i")


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))])
def test_a_row_can_be_copied_and_sent_to_another_process(way: Callable[[Task], Task]) -> None:
    env = Environment("e")

    @env.template()
    async def template(a: int) -> AsyncIterator[Any]:
        yield "p"
        yield 1.0

    task = template(a=1)
    task.verifier = Task("e", "v")
    again = way(task)

    assert again == task
    assert again.args is not task.args
    assert again.environment is (env if way in (copy.copy, copy.deepcopy) else None)


def test_a_field_that_another_client_wrote_into_a_row_is_named_and_ignored() -> None:
    with pytest.warns(UserWarning, match="a task row has no field 'metadata': it is ignored"):
        task = Task.from_row({"env": "e", "id": "t", "metadata": {}})
    assert task.to_row() == {"env": "e", "id": "t", "args": {}, "slug": "t"}
