"""What an upload is refused for: rows that are none, and rows that no environment of the project knows (PA-20)."""

from __future__ import annotations

import json
import socket
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud_platform.tasksets.task_rows import is_deep
from tests.hud_platform.uploading import (
    JSON,
    WORD,
    commit,
    export,
    fresh_name,
    make_environment,
    put_batch,
    row,
    try_upload,
    upload,
)
from tests.platform_process import PlatformProcess

MALFORMED = {
    "no task": ({"name": "bad", "env": {"name": "e"}}, "object missing required field task_id"),
    "no env": ({"name": "bad", "task_id": "t"}, "object missing required field env"),
    "env as text": ({"name": "bad", "env": "e", "task_id": "t"}, "at env: expected object, got str"),
    "env without name": ({"name": "bad", "env": {}, "task_id": "t"}, "at env: object missing required field name"),
    "empty env": (row("bad", ""), "at env.name: expected str of length >= 1"),
    "empty task": (row("bad", "e", task=""), "at task_id: expected str of length >= 1"),
    "args as a list": ({**row("bad", "e"), "args": [1]}, "at args: expected object | null, got array"),
    "validation as an object": (row("bad", "e", validation={}), "at validation: expected array | null, got object"),
    "a call that is none": (row("bad", "e", validation=[1]), "at validation[0]: expected object, got int"),
    "columns as text": (row("bad", "e", columns="x"), "at columns: expected object | null, got str"),
    "a config of another form": (row("bad", "e", runtime_config={"cpu": 2}), "runtime config: unknown key cpu"),
    "a config out of range": (row("bad", "e", runtime_config={"resources": {"cpu": 0}}), "not a number above 0"),
    "a config too large": (row("bad", "e", runtime_config={"resources": {"cpu": 10**400}}), "too large"),
    "a path to a document": (row("bad", "e", runtime_config={"compose": {"document": "c.yaml"}}), "the path 'c.yaml'"),
    "a verifier without env": (row("bad", "e", verifier={"id": "v"}), "at verifier: object missing required field env"),
    "a verifier's config": (
        row("bad", "e", verifier={"env": "e", "id": "v", "runtime_config": {"x": 1}}),
        "unknown key x",
    ),
    "a verifier's verifier": (
        row("bad", "e", verifier={"env": "e", "id": "v", "verifier": {"env": "e", "id": "v"}}),
        "has a verifier of its own",
    ),
    "a long slug": (row("bad" + "x" * 1022, "e"), "a slug that is longer than 1024 bytes"),
    "a zero byte": (row("bad\0", "e"), "a slug that is longer than 1024 bytes or holds a zero byte"),
}

BROKEN = {
    "NaN": (b'{"x":NaN}', "is not JSON: invalid character"),
    "Infinity": (b'{"x":-Infinity}', "is not JSON"),
    "a number beyond floats": (b'{"x":1e999}', "number out of range"),
    "half a pair": (rb'{"x":"\ud800"}', "is not JSON"),
    "a comma too many": (b'{"x":1,}', "is not JSON: "),
    "not UTF-8": (b'{"x":"\xff"}', "is not UTF-8"),
    "deep": (b'{"x":' + b"[" * 201 + b"]" * 201 + b"}", "more than 200 levels"),
    "deeper": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
}


@pytest.mark.parametrize(("bad", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_pa_20_a_malformed_row_is_named(
    any_platform: PlatformProcess, liberal_environment: str, bad: dict[str, Any], reason: str
) -> None:
    reply = try_upload(any_platform, [row("good", liberal_environment), bad], taskset_name=fresh_name())

    assert reply.status_code == 400
    (line,) = reply.json()["detail"].split("\n")
    assert line.startswith("task 'bad")
    assert reason in line


@pytest.mark.parametrize("bad", [{}, {"name": ""}, {"name": 3}, 3, "x", None, []])
def test_a_row_without_a_slug_is_named_by_its_place(
    any_platform: PlatformProcess, liberal_environment: str, bad: Any
) -> None:
    target = {"taskset_name": fresh_name()}
    reply = try_upload(any_platform, [row("good", liberal_environment), bad], **target)
    upload_id = str(uuid.uuid4())
    put_batch(any_platform, upload_id, 0, [row("good", liberal_environment), bad])
    batched = commit(any_platform, upload_id, batches=1, **target)

    assert (reply.status_code, batched.status_code) == (400, 400)
    assert reply.json()["detail"].startswith("tasks[1] is malformed")
    assert batched.json()["detail"].startswith("row 1 of batch 0 is malformed")
    assert any_platform.client.get(f"/v2/tasksets/by-name/{target['taskset_name']}").status_code == 404


@pytest.mark.parametrize(("args", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_names_the_row(
    any_platform: PlatformProcess, liberal_environment: str, args: bytes, reason: str
) -> None:
    env = liberal_environment.encode()
    good, bad = (
        b'{"name":"%s","env":{"name":"%s"},"task_id":"count","args":%s}' % (slug, env, value)
        for slug, value in ((b"good", b"{}"), (b"bad", args))
    )
    name = fresh_name()
    body = b'{"tasks":[%s,%s],"taskset_name":"%s"}' % (good, bad, name.encode())
    upload_id = str(uuid.uuid4())
    any_platform.client.put(f"/v2/task-uploads/{upload_id}/0", content=good + b"\n" + bad + b"\n")

    for reply in (
        any_platform.client.post("/v2/tasks/upload", content=body),
        commit(any_platform, upload_id, batches=1, taskset_name=name),
    ):
        assert reply.status_code == 400
        assert reply.json()["detail"].startswith("task 'bad' ")
        assert reason in reply.json()["detail"] or "nested" in reason


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"tasks":1}', b'{"tasks":[', b'{"tasks":[]}', b"\xff"])
def test_a_body_that_is_no_upload_is_refused(any_platform: PlatformProcess, body: bytes) -> None:
    reply = any_platform.client.post("/v2/tasks/upload", content=body)

    assert reply.status_code == 400
    assert "upload" in reply.json()["detail"]


@given(inner=JSON, levels=st.integers(190, 210), text=st.sampled_from(["", "[" * 300, '\\"[{' * 200]))
def test_levels_are_counted_outside_of_text(inner: Any, levels: int, text: str) -> None:
    value: Any = [inner, text]
    for number in range(levels):
        value = [value] if number % 2 else {text: value, "wide": [[]] * 3}

    assert is_deep(json.dumps(value).encode()) == (_levels(value) > 200)


def _levels(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((_levels(each) for each in (value.values() if isinstance(value, dict) else value)), default=0)


def test_a_slug_is_in_an_upload_once(any_platform: PlatformProcess, liberal_environment: str) -> None:
    rows = [row("a", liberal_environment), row("b", liberal_environment), row("a", liberal_environment, args={"x": 1})]
    upload_id = str(uuid.uuid4())
    put_batch(any_platform, upload_id, 0, rows[:2])
    put_batch(any_platform, upload_id, 1, rows[2:])

    for reply in (
        try_upload(any_platform, rows, taskset_name=fresh_name()),
        commit(any_platform, upload_id, batches=2, taskset_name=fresh_name()),
    ):
        assert (reply.status_code, reply.json()["detail"]) == (400, "task 'a' is in the upload more than once")


def test_pa_20_what_an_environment_does_not_know_is_named(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": WORD, "spell": WORD})
    unbuilt = make_environment(any_platform)
    good = {"word": "x"}
    rows = [
        row("a", "nowhere", args=good),
        row("b", unbuilt, args=good),
        row("c", env, task="cuont", args=good),
        row("d", env, args={"word": 3}),
        row("e", env),
        row("f", env, args=good, verifier={"env": "nowhere", "id": "judge"}),
        row("g", env, args=good, verifier={"env": env, "id": "count", "args": {"word": []}}),
        row("fine", env, args=good, verifier={"env": env, "id": "count", "args": good}),
    ]
    reply = try_upload(any_platform, rows, taskset_name=fresh_name())

    assert reply.status_code == 400
    assert reply.json()["detail"].split("\n") == [
        "task 'a': the project 'default' has no environment 'nowhere'; hud deploy makes it",
        f"task 'b': the environment {unbuilt!r} has no version yet; hud deploy makes one",
        f"task 'c': version 1 of the environment {env!r} has no task 'cuont'; did you mean 'count'?",
        "task 'd': args do not fit 'count': 3 is not of type \"string\" at args.word",
        "task 'e': args do not fit 'count': \"word\" is a required property",
        "task 'f': its verifier: the project 'default' has no environment 'nowhere'; hud deploy makes it",
        "task 'g': its verifier: args do not fit 'count': [] is not of type \"string\" at args.word",
    ]


def test_the_first_problems_are_told_and_the_others_counted(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": WORD})
    reply = try_upload(any_platform, [row(f"s-{index}", env) for index in range(3000)], taskset_name=fresh_name())

    lines = reply.json()["detail"].split("\n")
    assert [line.partition(":")[0] for line in lines[:20]] == [f"task 's-{index}'" for index in range(20)]
    assert lines[20:] == ["… and 2980 more"]


def test_a_large_value_is_not_told_whole(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": {"properties": {"word": {"maxLength": 3}}}})
    reply = try_upload(any_platform, [row("s", env, args={"word": "x" * 2**20})], taskset_name=fresh_name())

    assert reply.status_code == 400
    assert len(reply.text) < 1000


def test_the_current_version_decides(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": WORD})
    name = fresh_name()
    upload(any_platform, [row("s", env, args={"word": "x"})], taskset_name=name)
    make_environment(any_platform, {"count": {"required": ["letter"]}}, name=env)

    assert try_upload(any_platform, [row("s", env, args={"word": "y"})], taskset_name=name).status_code == 400
    assert upload(any_platform, [row("s", env, args={"letter": "y"})], taskset_name=name)["tasks_updated"] == 1


def test_pa_10_an_environment_is_found_by_any_form_of_its_name(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": None})
    spoken = env.upper().replace("-", "_")
    made = upload(any_platform, [row("s", spoken)], taskset_name=fresh_name())

    assert export(any_platform, made["taskset_id"])["s"]["env"] == spoken


def test_an_environment_of_another_project_is_unknown(any_platform: PlatformProcess) -> None:
    project = any_platform.client.post("/v2/projects", json={"name": fresh_name()}).json()
    env = make_environment(any_platform, {"count": None}, project_id=project["id"])

    refused = try_upload(any_platform, [row("s", env)], taskset_name=fresh_name())
    assert "the project 'default' has no environment" in refused.json()["detail"]
    upload(any_platform, [row("s", env)], taskset_name=fresh_name(), project_id=project["id"])


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"pattern": "("}, {"$ref": "#/nowhere"}])
def test_a_schema_that_is_none_is_said_to_be(any_platform: PlatformProcess, schema: Any) -> None:
    env = make_environment(any_platform, {"count": schema})
    reply = try_upload(any_platform, [row("s", env)], taskset_name=fresh_name())

    assert reply.status_code == 400
    assert "describes the args of 'count' with a schema that is none" in reply.json()["detail"]


def test_a_schema_makes_the_platform_fetch_nothing(any_platform: PlatformProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        env = make_environment(any_platform, {"count": {"$ref": address}, "read": {"$ref": "file:///etc/hostname"}})
        rows = [row("a", env), row("b", env, task="read")]
        reply = try_upload(any_platform, rows, taskset_name=fresh_name())
        with pytest.raises(TimeoutError):
            listener.accept()

    assert reply.status_code == 400
    assert reply.json()["detail"].count("is outside of the schema") == 2
