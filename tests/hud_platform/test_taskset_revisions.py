"""Revisions: immutable, named by their content, made by changes alone, and gone back to."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.sync.records import client_row
from hud.sync.signature import digest, taskset_digest
from tests.hud_platform.uploading import (
    commit,
    export,
    fresh_name,
    over_http,
    put_batch,
    row,
    signatures,
    upload,
)
from tests.platform_process import PlatformProcess

SLUGS = st.sampled_from(["a", "b", "c", "d", "é", "'; --"])
CONTENT = st.dictionaries(SLUGS, st.sampled_from([0, 1, 1.0, None, "1"]), max_size=4)


def revisions(platform: PlatformProcess, taskset_id: str) -> list[dict[str, Any]]:
    """Give all revisions, oldest first."""
    page = platform.client.get(f"/v2/tasksets/{taskset_id}/revisions").json()
    assert page["total"] == len(page["items"])
    return list(reversed(page["items"]))


def roll_back(platform: PlatformProcess, taskset_id: str, revision: int) -> dict[str, Any]:
    reply = platform.client.post(f"/v2/tasksets/{taskset_id}/rollback", json={"revision": revision})
    assert reply.status_code == 200, reply.text
    record: dict[str, Any] = reply.json()
    return record


@dataclass(frozen=True)
class Upload:
    rows: dict[str, Any]


@dataclass(frozen=True)
class Batches:
    rows: dict[str, Any]
    remove: frozenset[str]


@dataclass(frozen=True)
class Rollback:
    to: int


STEPS = st.one_of(
    st.builds(Upload, CONTENT),
    st.builds(Batches, CONTENT, st.frozensets(SLUGS, max_size=3)),
    st.builds(Rollback, st.integers(0, 7)),
)


@dataclass
class Model:
    """A taskset as a plain dictionary, and what it was at each revision."""

    content: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def become(self, content: dict[str, Any]) -> None:
        if repr(sorted(content.items())) != repr(sorted(self.content.items())):
            self.content = content
            self.history.append(content)


@over_http
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_any_sequence_of_changes_is_that_of_a_dictionary(
    any_platform: PlatformProcess, liberal_environment: str, steps: list[Upload | Batches | Rollback]
) -> None:
    model = Model()
    taskset = upload(any_platform, [], taskset_name=fresh_name())["taskset_id"]
    for step in steps:
        _take(any_platform, taskset, liberal_environment, step, model)

    found = export(any_platform, taskset)
    assert {slug: repr(record["args"]["v"]) for slug, record in found.items()} == {
        slug: repr(value) for slug, value in model.content.items()
    }
    told = signatures(any_platform, taskset)
    assert told["tasks"] == {slug: digest(client_row(record)).hex() for slug, record in found.items()}
    assert told["revision"] == len(model.history)
    history = revisions(any_platform, taskset)
    assert [each["revision"] for each in history] == list(range(1, len(model.history) + 1))
    assert [each["digest"] for each in history] == [_digest(liberal_environment, each) for each in model.history]
    assert [each["tasks"] for each in history] == [len(each) for each in model.history]
    assert [each["current"] for each in history] == [each is history[-1] for each in history]


def _take(platform: PlatformProcess, taskset: str, env: str, step: Upload | Batches | Rollback, model: Model) -> None:
    before = dict(model.content)
    if isinstance(step, Rollback):
        if step.to < len(model.history):
            roll_back(platform, taskset, step.to + 1)
            model.become(model.history[step.to])
        return
    rows = [row(slug, env, args={"v": value}) for slug, value in step.rows.items()]
    removed: set[str] = set()
    if isinstance(step, Upload):
        reply = upload(platform, rows, taskset_id=taskset)
    else:
        upload_id = str(uuid.uuid4())
        for number, each in enumerate(rows):
            put_batch(platform, upload_id, number, [each])
        removed = set(step.remove) - step.rows.keys()
        asked = {"batches": len(rows), "remove": sorted(removed), "base_digest": _digest(env, before)}
        reply = commit(platform, upload_id, taskset_id=taskset, **asked).json()
    model.become({slug: value for slug, value in {**before, **step.rows}.items() if slug not in removed})
    changed = [slug for slug in step.rows if slug in before and repr(before[slug]) != repr(step.rows[slug])]
    assert (reply["tasks_created"], reply["tasks_updated"], reply["tasks_removed"]) == (
        len(step.rows.keys() - before.keys()),
        len(changed),
        len(removed & before.keys()),
    )
    assert reply["digest"] == _digest(env, model.content)


def _digest(env: str, content: dict[str, Any]) -> str:
    return taskset_digest(
        {slug: digest({"env": env, "id": "count", "args": {"v": value}}) for slug, value in content.items()}
    )


def test_equal_content_has_an_equal_digest_wherever_it_is(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    rows = [row(slug, liberal_environment, args={"v": 1}) for slug in "abc"]
    one = upload(any_platform, rows, taskset_name=fresh_name())
    upload(any_platform, rows[1:], taskset_name=(name := fresh_name()))
    other = upload(any_platform, rows[:1], taskset_name=name)

    assert one["digest"] == other["digest"]
    assert (one["revision"], other["revision"]) == (1, 2)


def test_a_rollback_makes_a_revision_with_the_earlier_content(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    first = [row(slug, liberal_environment, args={"v": 1}) for slug in "abc"]
    made = upload(any_platform, first, taskset_name=fresh_name())
    taskset = made["taskset_id"]
    before = export(any_platform, taskset)
    upload(
        any_platform, [row("a", liberal_environment, args={"v": 2}), row("d", liberal_environment)], taskset_id=taskset
    )
    commit(any_platform, str(uuid.uuid4()), batches=0, remove=["b"], taskset_id=taskset)
    record = roll_back(any_platform, taskset, 1)

    assert export(any_platform, taskset) == before
    counts = [record[key] for key in ("revision", "rolled_back_to", "tasks", "created", "updated", "removed")]
    assert counts == [4, 1, 3, 1, 1, 1]
    assert (record["digest"], record["current"], record["key_name"]) == (made["digest"], True, "admin")
    assert [each["revision"] for each in revisions(any_platform, taskset)] == [1, 2, 3, 4]


def test_a_rollback_to_the_present_content_makes_nothing(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    taskset = upload(any_platform, [row("a", liberal_environment)], taskset_name=fresh_name())["taskset_id"]

    assert roll_back(any_platform, taskset, 1)["revision"] == 1
    assert len(revisions(any_platform, taskset)) == 1


@pytest.mark.parametrize("revision", [0, 2, 2**31 - 1])
def test_a_revision_that_is_not_there_is_not_found(
    any_platform: PlatformProcess, liberal_environment: str, revision: int
) -> None:
    taskset = upload(any_platform, [row("a", liberal_environment)], taskset_name=fresh_name())["taskset_id"]
    reply = any_platform.client.post(f"/v2/tasksets/{taskset}/rollback", json={"revision": revision})

    assert (reply.status_code, reply.json()["detail"]) == (404, f"the taskset has no revision {revision}")


@pytest.mark.parametrize("revision", [-1, 2**31, 10**30, 1.5, "x", None])
def test_what_is_no_revision_is_refused(any_platform: PlatformProcess, revision: Any) -> None:
    taskset = upload(any_platform, [], taskset_name=fresh_name())["taskset_id"]
    reply = any_platform.client.post(f"/v2/tasksets/{taskset}/rollback", json={"revision": revision})

    assert reply.status_code == 422


def test_revisions_are_listed_newest_first_in_pages(any_platform: PlatformProcess, liberal_environment: str) -> None:
    taskset = upload(any_platform, [], taskset_name=fresh_name())["taskset_id"]
    for value in range(5):
        upload(any_platform, [row("a", liberal_environment, args={"v": value})], taskset_id=taskset)
    path = f"/v2/tasksets/{taskset}/revisions"

    numbers: list[int] = []
    for offset in (0, 2, 4):
        page = any_platform.client.get(path, params={"limit": 2, "offset": offset}).json()
        assert page["total"] == 5
        numbers += [each["revision"] for each in page["items"]]
    assert numbers == [5, 4, 3, 2, 1]
    assert any_platform.client.get(path, params={"limit": 2**40}).status_code in (400, 422)
