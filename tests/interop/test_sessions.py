"""Tasks that are left, taken over, cancelled and given up, by one kind of client on the other kind of server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.conftest import Pair

pytestmark = pytest.mark.peer

NOTHING = [-32600, "no task in progress"]


def graded(tag: str, answer: str) -> dict[str, Any]:
    return {"score": 1.0, "tag": tag, "answer": answer}


@pytest.fixture(scope="session")
def seen(pair: Pair) -> dict[str, Any]:
    output: dict[str, Any] = pair.client.run("park.py", pair.server.url)
    return output


def test_with_nothing_parked_there_is_nothing_to_grade(seen: dict[str, Any]) -> None:
    assert seen["nothing to grade"] == NOTHING


def test_a_plain_grade_adopts_the_one_parked_task_once(seen: dict[str, Any]) -> None:
    assert seen["adopted"] == graded("adopted", "by another")
    assert seen["adopted again"] == NOTHING


def test_of_several_parked_tasks_each_is_taken_over_by_its_session_id(seen: dict[str, Any]) -> None:
    assert seen["two parked"] == [-32600, True]
    assert seen["resumed"] == [True, graded("first", "1")]
    assert seen["resumed and cancelled"] == [None, NOTHING]
    assert seen["resumed when gone"] == [-32600, -32600]


def test_a_live_session_is_its_owners_alone(seen: dict[str, Any]) -> None:
    assert seen["live session"] == -32600
    assert seen["live task"] == NOTHING
    assert seen["live task, its owner"] == graded("owned", "!")


def test_cancel_ends_the_task(seen: dict[str, Any]) -> None:
    assert seen["cancelled"] == [None, NOTHING]


def test_a_client_that_leaves_while_it_is_graded_leaves_nothing(seen: dict[str, Any]) -> None:
    assert seen["abandoned while it is graded"] == NOTHING


def test_a_client_that_leaves_while_it_starts_leaves_the_task_once_it_has_started(seen: dict[str, Any]) -> None:
    assert seen["abandoned while it starts"] == NOTHING
    assert seen["abandoned while it starts, then"] == graded("abandoned in start", "late")


def test_every_task_was_closed(pair: Pair, seen: dict[str, Any]) -> None:
    journal = pair.server.journal()
    started = sorted(line.removeprefix("started ") for line in journal if line.startswith("started "))
    closed = sorted(line.removeprefix("closed ") for line in journal if line.startswith("closed "))
    assert started == closed
    assert {"adopted", "first", "second", "owned", "cancelled", "abandoned in grade", "abandoned in start"} <= set(
        closed
    )
