"""Default slugs are the same, bit for bit, as every other client's: rows are matched by them."""

from __future__ import annotations

import datetime
import hashlib
import json
import pathlib
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hud.environment import Environment
from hud.eval.task import Task, default_slug
from tests.hud.environment.probe import Steps

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.datetimes()
    | st.uuids()
    | st.just(pathlib.PurePosixPath("/a")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def reference(task_id: str, args: dict[str, Any]) -> str:
    text = json.dumps(args, sort_keys=True, default=str)
    return f"{task_id}-{hashlib.sha1(text.encode()).hexdigest()[:8]}" if args else task_id


@given(st.text(min_size=1), st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_default_slug_is_the_id_and_a_digest_of_the_arguments(task_id: str, args: dict[str, Any]) -> None:
    assert default_slug(task_id, args) == reference(task_id, args)


def test_the_specifications_vectors() -> None:
    assert default_slug("count", {"sentence": "Strawberry world", "letter": "r"}) == "count-4376680e"
    assert default_slug("count", {"letter": "r", "sentence": "Strawberry world"}) == "count-4376680e"
    assert default_slug("count", {}) == "count"


def test_a_row_gets_the_slug_of_the_arguments_it_was_called_with() -> None:
    environment = Environment("rows")

    @environment.template()
    async def count(sentence: str, letter: str, times: int = 1) -> Steps:
        yield sentence, letter, times

    assert count(sentence="Strawberry world", letter="r").slug == "count-4376680e"
    assert count("Strawberry world", "r").slug == "count-4376680e"
    assert count("Strawberry world", "r", times=1).slug != "count-4376680e"
    assert Task("rows", "count", {"when": datetime.date(2026, 1, 2), "id": uuid.UUID(int=1)}).slug == reference(
        "count", {"when": "2026-01-02", "id": "00000000-0000-0000-0000-000000000001"}
    )
