"""Uploads: created and updated by slug, whole or in batches, all or nothing, once however often they are sent."""

from __future__ import annotations

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from hud.sync.signature import taskset_digest
from tests.hud_platform.uploading import (
    WORD,
    commit,
    export,
    fresh_name,
    make_environment,
    put_batch,
    row,
    signatures,
    try_upload,
    upload,
)
from tests.platform_process import PlatformProcess

Fresh = Callable[..., PlatformProcess]


def words(env: str, **by_slug: str) -> list[dict[str, Any]]:
    """Give a row for each slug, with a word as its argument."""
    return [row(slug, env, args={"word": word}) for slug, word in by_slug.items()]


def stored(platform: PlatformProcess, taskset_id: str) -> dict[str, str]:
    return {slug: record["args"]["word"] for slug, record in export(platform, taskset_id).items()}


def test_pa_07_rows_are_created_and_updated_by_their_slugs(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    name = fresh_name()
    made = upload(any_platform, words(liberal_environment, a="1", b="2"), taskset_name=name)
    changed = upload(any_platform, words(liberal_environment, b="3", c="4"), taskset_name=name)
    again = upload(any_platform, words(liberal_environment, b="3", c="4"), taskset_name=name)

    assert str(uuid.UUID(made["taskset_id"])) == made["taskset_id"] == changed["taskset_id"]
    assert (made["tasks_created"], made["tasks_updated"], made["revision"]) == (2, 0, 1)
    assert (changed["tasks_created"], changed["tasks_updated"], changed["revision"]) == (1, 1, 2)
    assert (again["tasks_created"], again["tasks_updated"], again["revision"]) == (0, 0, 2)
    assert stored(any_platform, made["taskset_id"]) == {"a": "1", "b": "3", "c": "4"}  # PA-21: a is kept


def test_what_says_the_same_in_other_words_is_not_written_again(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    name = fresh_name()
    first = row("s", liberal_environment, args={"a": 1, "b": 2}, runtime_config={"resources": {"cpu": 2.0}})
    same = row("s", liberal_environment, args={"b": 2, "a": 1}, runtime_config={"resources": {"cpu": 2}}, columns=None)
    other = row("s", liberal_environment, args={"a": 1.0, "b": 2}, runtime_config={"resources": {"cpu": 2}})
    upload(any_platform, [first], taskset_name=name)

    assert upload(any_platform, [same], taskset_name=name)["tasks_updated"] == 0
    assert upload(any_platform, [other], taskset_name=name)["tasks_updated"] == 1


def test_the_id_wins_over_the_name(any_platform: PlatformProcess, liberal_environment: str) -> None:
    made = upload(any_platform, words(liberal_environment, a="1"), taskset_name=fresh_name())
    name = fresh_name()
    target = {"taskset_id": made["taskset_id"].replace("-", ""), "taskset_name": name}

    assert upload(any_platform, words(liberal_environment, b="2"), **target)["taskset_id"] == made["taskset_id"]
    assert any_platform.client.get(f"/v2/tasksets/by-name/{name}").status_code == 404


def test_an_upload_makes_no_taskset_beside_the_one_that_its_name_finds(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    name = fresh_name()
    made = upload(any_platform, words(liberal_environment, a="1"), taskset_name=name)
    again = upload(any_platform, words(liberal_environment, b="1"), taskset_name=name.upper())

    assert again["taskset_id"] == made["taskset_id"]


def test_pa_20_projects_are_checked(any_platform: PlatformProcess, liberal_environment: str) -> None:
    project = any_platform.client.post("/v2/projects", json={"name": fresh_name()}).json()["id"]
    env = make_environment(any_platform, {"count": None}, project_id=project)
    mine = upload(any_platform, words(liberal_environment, a="1"), taskset_name=fresh_name())["taskset_id"]

    unknown = try_upload(any_platform, [], taskset_name="x", project_id=str(uuid.uuid4()))
    foreign = try_upload(any_platform, words(env, a="1"), taskset_id=mine, project_id=project)
    absent = try_upload(any_platform, [], taskset_id=str(uuid.uuid4()))
    nameless = try_upload(any_platform, [])
    assert [reply.status_code for reply in (unknown, foreign, absent, nameless)] == [404, 409, 404, 400]
    assert all(isinstance(reply.json()["detail"], str) for reply in (unknown, foreign, absent, nameless))
    inside = upload(any_platform, words(env, a="1"), taskset_name=fresh_name(), project_id=project.replace("-", ""))
    assert any_platform.client.get(f"/v2/tasksets/{inside['taskset_id']}").json()["project_id"] == project


def test_pa_20_one_bad_row_refuses_all(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": WORD})
    name = fresh_name()
    made = upload(any_platform, words(env, a="1"), taskset_name=name)
    rows = [*words(env, a="2", b="2"), row("bad", env)]
    upload_id = str(uuid.uuid4())
    put_batch(any_platform, upload_id, 0, rows[:2])
    put_batch(any_platform, upload_id, 1, rows[2:])

    assert try_upload(any_platform, rows, taskset_name=name).status_code == 400
    assert commit(any_platform, upload_id, batches=2, taskset_name=name, remove=["a"]).status_code == 400
    assert try_upload(any_platform, rows, taskset_name=f"{name}-new").status_code == 400
    assert stored(any_platform, made["taskset_id"]) == {"a": "1"}
    assert any_platform.client.get(f"/v2/tasksets/by-name/{name}-new").status_code == 404


def test_an_upload_without_rows_makes_the_taskset(any_platform: PlatformProcess) -> None:
    made = upload(any_platform, [], taskset_name=fresh_name())

    assert (made["tasks_created"], made["revision"], made["digest"]) == (0, 0, taskset_digest({}))


def test_an_argument_of_megabytes_is_a_value_like_another(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    large = words(liberal_environment, a="x" * 10_000_000, b="y" * 10_000_000)
    made = upload(any_platform, large, taskset_name=fresh_name())

    assert stored(any_platform, made["taskset_id"]) == {"a": "x" * 10_000_000, "b": "y" * 10_000_000}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_hundred_thousand_rows_travel_in_one_request(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": WORD})
    rows = words(env, **{f"s-{number:06}": f"{'x' * 1000}{number}" for number in range(100_000)})
    client = httpx.Client(base_url=any_platform.url, headers=any_platform.client.headers, timeout=240)
    body = json.dumps({"taskset_name": fresh_name(), "tasks": rows}).encode()
    assert len(body) > 100_000_000

    made = client.post("/v2/tasks/upload", content=body).json()
    assert made["tasks_created"] == 100_000
    again = client.post("/v2/tasks/upload", content=body).json()
    assert (again["tasks_updated"], again["revision"]) == (0, 1)
    found = client.get(f"/v2/tasksets/{made['taskset_id']}/export").json()["tasks"]
    assert {record["name"]: record["args"] for record in found} == {each["name"]: each["args"] for each in rows}
    client.close()


def test_batches_become_one_revision(any_platform: PlatformProcess, liberal_environment: str) -> None:
    made = upload(any_platform, words(liberal_environment, a="1", b="2", c="3"), taskset_name=fresh_name())
    upload_id = str(uuid.uuid4())
    assert put_batch(any_platform, upload_id, 0, words(liberal_environment, a="4")).status_code == 204
    assert put_batch(any_platform, upload_id, 1, words(liberal_environment, d="5")).content == b""
    asked = {"taskset_id": made["taskset_id"], "batches": 2, "remove": ["b", "unknown"], "base_digest": made["digest"]}
    done = commit(any_platform, upload_id, **asked)

    assert done.status_code == 200
    counts = [done.json()[f"tasks_{kind}"] for kind in ("created", "updated", "removed")]
    assert (counts, done.json()["revision"]) == ([1, 1, 1], 2)
    assert stored(any_platform, made["taskset_id"]) == {"a": "4", "c": "3", "d": "5"}


def test_pa_07_a_commit_that_is_asked_for_again_is_answered_again(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    name, upload_id = fresh_name(), str(uuid.uuid4())
    put_batch(any_platform, upload_id, 0, words(liberal_environment, a="1"))
    first = commit(any_platform, upload_id, batches=1, taskset_name=name).json()
    upload(any_platform, words(liberal_environment, a="2"), taskset_name=name)

    late = put_batch(any_platform, upload_id.replace("-", ""), 0, words(liberal_environment, a="1"))
    again = commit(any_platform, upload_id.upper(), batches=1, taskset_name=name)
    assert (late.status_code, again.status_code, again.json()) == (204, 200, first)
    assert stored(any_platform, first["taskset_id"]) == {"a": "2"}


def test_a_batch_that_is_sent_again_is_replaced(any_platform: PlatformProcess, liberal_environment: str) -> None:
    upload_id = str(uuid.uuid4())
    for word in ("1", "2"):
        put_batch(any_platform, upload_id, 0, words(liberal_environment, a=word, **{f"only-{word}": word}))
    done = commit(any_platform, upload_id, batches=1, taskset_name=fresh_name()).json()

    assert stored(any_platform, done["taskset_id"]) == {"a": "2", "only-2": "2"}


def test_a_batch_that_has_not_arrived_is_missed(any_platform: PlatformProcess, liberal_environment: str) -> None:
    upload_id = str(uuid.uuid4())
    put_batch(any_platform, upload_id, 0, words(liberal_environment, a="1"))
    put_batch(any_platform, upload_id, 2, words(liberal_environment, b="1"))
    early = commit(any_platform, upload_id, batches=3, taskset_name=fresh_name())
    put_batch(any_platform, upload_id, 1, [])

    assert early.status_code == 409
    assert early.json()["detail"] == f"2 of the 3 batches of upload {upload_id} have arrived"
    assert commit(any_platform, upload_id, batches=3, taskset_name=fresh_name()).json()["tasks_created"] == 2


def test_an_upload_for_another_revision_than_the_current_one_is_refused(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    name = fresh_name()
    first = upload(any_platform, words(liberal_environment, a="1"), taskset_name=name)
    upload(any_platform, words(liberal_environment, a="2"), taskset_name=name)
    upload_id = str(uuid.uuid4())
    put_batch(any_platform, upload_id, 0, words(liberal_environment, a="3"))
    asked = {"taskset_id": first["taskset_id"], "batches": 1}

    stale = commit(any_platform, upload_id, **asked, base_digest=first["digest"])
    assert (stale.status_code, stale.json()["code"]) == (409, "conflict")
    assert stored(any_platform, first["taskset_id"]) == {"a": "2"}
    current = signatures(any_platform, first["taskset_id"])["digest"]
    assert commit(any_platform, upload_id, **asked, base_digest=current).json()["tasks_updated"] == 1


def test_rows_can_be_removed_alone_but_not_with_their_upload(
    any_platform: PlatformProcess, liberal_environment: str
) -> None:
    made = upload(any_platform, words(liberal_environment, a="1", b="2"), taskset_name=fresh_name())
    target = {"taskset_id": made["taskset_id"]}
    both = str(uuid.uuid4())
    put_batch(any_platform, both, 0, words(liberal_environment, a="2"))

    refused = commit(any_platform, both, batches=1, remove=["a"], **target)
    assert (refused.status_code, refused.json()["detail"]) == (400, "task 'a' is uploaded and removed at once")
    alone = commit(any_platform, str(uuid.uuid4()), batches=0, remove=["a"], **target)
    assert alone.json()["tasks_removed"] == 1
    assert stored(any_platform, made["taskset_id"]) == {"b": "2"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("no-id/0", 404),
        ("50fbf740-37e6-4758-9464-b86b18b51e05/100000", 404),
        ("50fbf740-37e6-4758-9464-b86b18b51e05/-1", 404),
    ],
)
def test_batches_have_places(any_platform: PlatformProcess, path: str, status: int) -> None:
    assert any_platform.client.put(f"/v2/task-uploads/{path}", content=b"{}").status_code == status


def test_uploads_to_one_taskset_at_once_lose_nothing(any_platform: PlatformProcess, liberal_environment: str) -> None:
    name = fresh_name()

    def send(number: int) -> dict[str, Any]:
        rows = words(liberal_environment, shared=str(number), **{f"s-{number}-{n}": "x" for n in range(50)})
        if number % 2:
            return upload(any_platform, rows, taskset_name=name)
        upload_id = str(uuid.uuid4())
        put_batch(any_platform, upload_id, 0, rows)
        replies = [commit(any_platform, upload_id, batches=1, taskset_name=name) for _ in range(2)]
        assert replies[0].json() == replies[1].json()
        done: dict[str, Any] = replies[0].json()
        return done

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(send, range(8)))
    (taskset,) = {each["taskset_id"] for each in done}
    assert sorted(each["revision"] for each in done) == list(range(1, 9))
    last = max(done, key=lambda each: each["revision"])
    assert last["digest"] == signatures(any_platform, taskset)["digest"]
    assert len(stored(any_platform, taskset)) == 8 * 50 + 1


def test_one_commit_asked_for_by_many_at_once_is_one(any_platform: PlatformProcess, liberal_environment: str) -> None:
    name, upload_id = fresh_name(), str(uuid.uuid4())
    put_batch(any_platform, upload_id, 0, words(liberal_environment, **{f"s-{n}": "x" for n in range(500)}))

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: commit(any_platform, upload_id, batches=1, taskset_name=name), range(8)))
    assert {reply.status_code for reply in replies} <= {200, 409}
    first, *others = [reply.json() for reply in replies if reply.status_code == 200]
    assert all(other == first for other in others)
    assert (first["tasks_created"], first["revision"]) == (500, 1)


def test_others_are_answered_while_rows_arrive(any_platform: PlatformProcess, liberal_environment: str) -> None:
    rows = words(liberal_environment, **{f"s-{number}": "x" for number in range(20_000)})
    answered = 0
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(upload, any_platform, rows, taskset_name=fresh_name())
        with any_platform.as_key(any_platform.key) as client:
            while not sent.done():
                assert client.get("/v2/tasksets", params={"limit": 1}).status_code == 200
                answered += 1
    assert sent.result()["tasks_created"] == 20_000
    assert answered > 3


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_commit_of_a_killed_platform_is_whole_or_not_there(
    fresh_platform: Fresh, tmp_path: Path, after_s: float
) -> None:
    platform = fresh_platform(data=tmp_path / "data")
    env = make_environment(platform, {"count": None})
    before = upload(platform, words(env, kept="1", changed="1"), taskset_name="s")
    upload_id, taskset = str(uuid.uuid4()), before["taskset_id"]
    put_batch(platform, upload_id, 0, words(env, changed="2", **{f"s-{n}": "x" for n in range(3000)}))
    asked = {"batches": 1, "taskset_id": taskset, "base_digest": before["digest"]}
    asking = threading.Thread(target=_ignoring_cuts, args=(platform, upload_id, asked))
    asking.start()
    time.sleep(after_s)
    platform.stop(signal.SIGKILL)
    asking.join()
    platform.start()

    assert len(stored(platform, taskset)) in (2, 3002)
    done = commit(platform, upload_id, **asked)  # whatever became of the first one
    assert (done.status_code, done.json()["revision"], done.json()["tasks_created"]) == (200, 2, 3000)
    assert len(stored(platform, taskset)) == 3002
    assert platform.client.get(f"/v2/tasksets/{taskset}/revisions").json()["total"] == 2


def test_the_reply_to_a_commit_outlives_the_platform(fresh_platform: Fresh, tmp_path: Path) -> None:
    platform = fresh_platform(data=tmp_path / "data")
    env = make_environment(platform, {"count": None})
    upload_id = str(uuid.uuid4())
    put_batch(platform, upload_id, 0, words(env, a="1"))
    first = commit(platform, upload_id, batches=1, taskset_name="s").json()
    platform.stop(signal.SIGKILL)
    platform.start()

    assert commit(platform, upload_id, batches=1, taskset_name="s").json() == first


def test_an_upload_that_is_cut_leaves_nothing(any_platform: PlatformProcess, liberal_environment: str) -> None:
    name = fresh_name()
    body = json.dumps({"taskset_name": name, "tasks": words(liberal_environment, a="1")}).encode()

    def cut() -> Any:
        yield body[: len(body) // 2]
        raise ConnectionError

    with any_platform.as_key(any_platform.key) as client, pytest.raises(ConnectionError):
        client.post("/v2/tasks/upload", content=cut())
    assert any_platform.client.get(f"/v2/tasksets/by-name/{name}").status_code == 404
    assert try_upload(any_platform, words(liberal_environment, a="1"), taskset_name=name).status_code == 200


def _ignoring_cuts(platform: PlatformProcess, upload_id: str, asked: dict[str, Any]) -> None:
    try:
        with platform.as_key(platform.key) as client:
            client.post(f"/v2/task-uploads/{upload_id}/commit", json=asked)
    except httpx.TransportError:
        pass
