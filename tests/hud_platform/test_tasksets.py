"""Tasksets: found by name or id, listed, made, and exported exactly as they were uploaded."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.sync.records import client_row
from hud.sync.signature import digest, taskset_digest
from tests.hud_platform.uploading import (
    JSON,
    OBJECTS,
    WORD,
    export,
    fresh_name,
    make_environment,
    over_http,
    row,
    signatures,
    upload,
)
from tests.platform_process import PlatformProcess

INJECTIONS = [
    "'; DROP TABLE tasks; --",
    '" OR 1=1 --',
    "{{7*7}} ${7*7} <%= 7*7 %> #{7*7}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "%s %d %(x)s {0} \\x00 \\u0000",
    '日本 é \N{RIGHT-TO-LEFT OVERRIDE} \N{GRINNING FACE} \x1b[31m\r\n\t\\"/',
]


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "a/b",
        "/first",
        "last/",
        "a//b",
        "export",
        "100%",
        "%2F",
        "a b+c",
        "日本é",
        "?q=1",
        "#part",
        *INJECTIONS,
    ],
)
def test_pa_23_a_name_is_found_as_it_is(any_platform: PlatformProcess, name: str) -> None:
    name = f"{name} {uuid.uuid4().hex}/"
    made = any_platform.client.post("/v2/tasksets", json={"name": name, "project_id": None})
    found = any_platform.client.get(f"/v2/tasksets/by-name/{quote(name, safe='')}")

    assert made.status_code == 201
    assert found.json() == {"taskset_id": made.json()["id"], "name": name}


def test_pa_23_the_normalised_name_is_tried_after_the_exact_one(any_platform: PlatformProcess) -> None:
    name = fresh_name()
    made = any_platform.client.post("/v2/tasksets", json={"name": name}).json()
    spoken = name.upper().replace("-", "_") + "!"

    assert any_platform.client.get(f"/v2/tasksets/by-name/{spoken}").json() == {"taskset_id": made["id"], "name": name}
    exact = any_platform.client.post("/v2/tasksets", json={"name": spoken}).json()
    assert any_platform.client.get(f"/v2/tasksets/by-name/{spoken}").json()["taskset_id"] == exact["id"]
    assert any_platform.client.get(f"/v2/tasksets/by-name/{name}").json()["taskset_id"] == made["id"]


@pytest.mark.parametrize("name", ["absent", "%E3%81%82", "a%00b", "%2F", "%FF", "x" * 600])
def test_an_unknown_name_is_absent(any_platform: PlatformProcess, name: str) -> None:
    reply = any_platform.client.get(f"/v2/tasksets/by-name/{name}")

    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["", "/export", "/signatures", "/revisions"])
@pytest.mark.parametrize("reference", ["3e1f038e-f22d-48e5-9b85-abc5342d133a", "no-id", "'; --"])
def test_what_is_not_there_is_not_found(any_platform: PlatformProcess, reference: str, path: str) -> None:
    reply = any_platform.client.get(f"/v2/tasksets/{quote(reference, safe='')}{path}")

    assert reply.status_code == 404
    assert repr(reference) in reply.json()["detail"]


def test_pa_03_both_forms_of_an_id_name_the_same_taskset(any_platform: PlatformProcess) -> None:
    made = any_platform.client.post("/v2/tasksets", json={"name": fresh_name()}).json()

    assert str(uuid.UUID(made["id"])) == made["id"]  # PA-22
    for form in (made["id"], made["id"].replace("-", ""), made["id"].upper()):
        assert any_platform.client.get(f"/v2/tasksets/{form}").json() == made


def test_who_may_write_can_edit(any_platform: PlatformProcess) -> None:
    made = any_platform.client.post("/v2/tasksets", json={"name": fresh_name()}).json()
    reader = any_platform.as_key(any_platform.mint("read"))

    assert made["can_edit"]
    assert not reader.get(f"/v2/tasksets/{made['id']}").json()["can_edit"]


def test_a_new_taskset_is_empty(any_platform: PlatformProcess) -> None:
    name = fresh_name()
    made = any_platform.client.post("/v2/tasksets", json={"name": name}).json()

    assert any_platform.client.get(f"/v2/tasksets/{made['id']}/export").json() == {"name": name, "tasks": []}
    assert signatures(any_platform, made["id"]) == {"revision": 0, "digest": taskset_digest({}), "tasks": {}}
    assert any_platform.client.get(f"/v2/tasksets/{made['id']}/revisions").json() == {"items": [], "total": 0}


def test_a_name_is_taken_once_in_a_project(any_platform: PlatformProcess) -> None:
    name = fresh_name()
    other = any_platform.client.post("/v2/projects", json={"name": name}).json()

    assert any_platform.client.post("/v2/tasksets", json={"name": name}).status_code == 201
    assert any_platform.client.post("/v2/tasksets", json={"name": name}).status_code == 409
    elsewhere = any_platform.client.post("/v2/tasksets", json={"name": name, "project_id": other["id"]})
    assert elsewhere.json()["project_id"] == other["id"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 513, "a\0b"])
def test_what_cannot_name_a_taskset_is_refused(any_platform: PlatformProcess, name: str) -> None:
    reply = any_platform.client.post("/v2/tasksets", json={"name": name})

    assert reply.status_code == 400
    assert "cannot name a taskset" in reply.json()["detail"]


def test_tasksets_are_listed_in_pages_and_searched(any_platform: PlatformProcess) -> None:
    word = uuid.uuid4().hex
    names = sorted(f"{word} 50% {letter}" for letter in "abc")
    for name in names:
        any_platform.client.post("/v2/tasksets", json={"name": name})

    found: list[str] = []
    for offset in range(0, 3, 2):
        page = any_platform.client.get("/v2/tasksets", params={"search": f"{word} 50%", "limit": 2, "offset": offset})
        found += [record["name"] for record in page.json()["items"]]
        assert page.json()["total"] == 3
    assert found == names
    for nothing in (f"{word}%", "' OR '1'='1", "a\0b"):
        assert any_platform.client.get("/v2/tasksets", params={"search": nothing}).json()["items"] == []


def test_a_record_tells_the_content(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": None})
    made = upload(any_platform, [row("a", env), row("b", env)], taskset_name=fresh_name())
    record = any_platform.client.get(f"/v2/tasksets/{made['taskset_id']}").json()

    assert (record["tasks"], record["revision"], record["digest"]) == (2, 1, made["digest"])


def test_some_rows_are_read_by_their_slugs(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": None})
    taskset = upload(any_platform, [row(slug, env) for slug in "abc"], taskset_name=fresh_name())["taskset_id"]
    path = f"/v2/tasksets/{taskset}/rows"

    found = any_platform.client.post(path, json={"slugs": ["c", "a", "a", "nope", "a\0"]}).json()["tasks"]
    assert [record["name"] for record in found] == ["a", "c"]
    assert any_platform.client.post(path, json={"slugs": []}).json() == {"tasks": []}
    many = {"slugs": [f"nope-{number}" for number in range(100_000)] + ["b"]}
    assert [record["name"] for record in any_platform.client.post(path, json=many).json()["tasks"]] == ["b"]


ROWS = st.fixed_dictionaries(
    {"args": OBJECTS},
    optional={
        "columns": OBJECTS | st.none(),
        "agent_config": OBJECTS,
        "validation": st.lists(OBJECTS, max_size=2),
        "runtime_config": st.sampled_from(
            [
                {"image": "a:b", "resources": {"cpu": 2.0, "gpu": {"type": "H100"}}, "limits": {"run_timeout_s": 600}},
                {"compose": {"document": {"services": {"main": {}}}, "root": {"compose_path": "compose.yaml"}}},
                {"resources": {"cpu": 2, "memory_mb": 512}},
            ]
        ),
    },
)


@over_http
@given(rows=st.lists(ROWS, min_size=1, max_size=4), verifier=OBJECTS, compact=st.booleans())
def test_pa_19_an_export_is_what_was_uploaded(
    any_platform: PlatformProcess,
    liberal_environment: str,
    rows: list[dict[str, Any]],
    verifier: dict[str, Any],
    compact: bool,
) -> None:
    env = liberal_environment
    sent = [row(f"s-{index}", env, **fields) for index, fields in enumerate(rows)]
    sent[0]["verifier"] = {"env": env, "id": "count", "args": verifier, "slug": "v", "columns": verifier}
    body = json.dumps(
        {"taskset_name": fresh_name(), "tasks": sent}, ensure_ascii=compact, separators=(",", ":") if compact else None
    )
    made = any_platform.client.post("/v2/tasks/upload", content=body.encode()).json()
    found = export(any_platform, made["taskset_id"])

    expected = {each["name"]: {**each, "env": env, "scenario": each["task_id"]} for each in sent}
    for each in expected.values():
        del each["task_id"]
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)  # 1 is not 1.0, nor absent null
    digests = {slug: digest(client_row(record)) for slug, record in found.items()}
    assert signatures(any_platform, made["taskset_id"]) == {
        "revision": 1,
        "digest": taskset_digest(digests),
        "tasks": {slug: value.hex() for slug, value in digests.items()},
    }


def test_pa_19_numbers_and_text_come_back_to_the_byte(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": None})
    args = rb'{"a":1,"b":1.0,"c":1e2,"d":1E+2,"e":-0,"f":0.10,"g":"\u00e9\/","h":"\u0000","i":12345678901234567890123}'
    body = b'{"taskset_name":"%s","tasks":[{"name":"s","env":{"name":"%s"},"task_id":"count","args":%s}]}' % (
        fresh_name().encode(),
        env.encode(),
        args,
    )
    made = any_platform.client.post("/v2/tasks/upload", content=body).json()

    assert args in any_platform.client.get(f"/v2/tasksets/{made['taskset_id']}/export").content


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_that_other_languages_would_obey_is_text(any_platform: PlatformProcess, text: str) -> None:
    env = make_environment(any_platform, {text: None})
    verifier = {"env": env, "id": text, "args": {text: text}, "slug": text}
    sent = row(text, env, task=text, args={text: text}, columns={text: [text]}, verifier=verifier)
    made = upload(any_platform, [sent], taskset_name=f"{text} {uuid.uuid4().hex}")

    (record,) = export(any_platform, made["taskset_id"]).values()
    assert record == {**{key: sent[key] for key in sent if key != "task_id"}, "env": env, "scenario": text}
    rows = any_platform.client.post(f"/v2/tasksets/{made['taskset_id']}/rows", json={"slugs": [text]}).json()
    assert rows == {"tasks": [record]}
    assert list(signatures(any_platform, made["taskset_id"])["tasks"]) == [text]


def test_a_key_that_only_reads_changes_nothing(any_platform: PlatformProcess) -> None:
    env = make_environment(any_platform, {"count": WORD})
    made = upload(any_platform, [row("a", env, args={"word": "x"})], taskset_name=fresh_name())
    taskset = made["taskset_id"]
    reader = any_platform.as_key(any_platform.mint("read"))
    task = row("b", env, args={"word": "x"})

    refused = [
        reader.post("/v2/tasks/upload", json={"taskset_id": taskset, "tasks": [task]}),
        reader.post("/v2/tasksets", json={"name": fresh_name()}),
        reader.post(f"/v2/tasksets/{taskset}/rollback", json={"revision": 1}),
        reader.put(f"/v2/task-uploads/{uuid.uuid4()}/0", content=json.dumps(task)),
        reader.post(f"/v2/task-uploads/{uuid.uuid4()}/commit", json={"taskset_id": taskset, "batches": 0}),
    ]
    assert [reply.status_code for reply in refused] == [403] * 5
    for path in ("export", "signatures", "revisions"):
        assert reader.get(f"/v2/tasksets/{taskset}/{path}").status_code == 200
    assert len(reader.post(f"/v2/tasksets/{taskset}/rows", json={"slugs": ["a"]}).json()["tasks"]) == 1
    assert signatures(any_platform, taskset)["digest"] == made["digest"]


@over_http
@given(value=JSON)
def test_no_body_of_json_is_more_than_refused(any_platform: PlatformProcess, value: Any) -> None:
    for path in ("/v2/tasks/upload", "/v2/tasksets", f"/v2/task-uploads/{uuid.uuid4()}/commit"):
        reply = any_platform.client.post(path, json=value)
        assert reply.status_code in (400, 422)
        assert reply.json()["detail"]
