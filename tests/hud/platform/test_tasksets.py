"""Tasksets over the API: lookups, the one upload of the public service, and batches where there are some."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hud import Taskset, settings
from hud.errors import HudError, NotFoundError, PlatformError, UnreachableError, UsageError
from hud.platform import tasksets
from hud.platform.client import Platform
from tests.stand_in import DROP, PublicService, Scripted

ROW: dict[str, Any] = {"name": "a", "env": {"name": "e"}, "task_id": "t", "args": {"n": 1.0, "u": "é", "x": None}}
EXTENSIONS = Scripted(body={"server": "hud", "version": "1", "extensions": ["tasksets"]})
REPLY = Scripted(body={"taskset_id": "99999999-9999-4999-8999-999999999999", "tasks_created": 1, "tasks_updated": 0})
NAMES = ["demo", "a/b", "ünï čode", "100% ?&#", "Robert'); DROP TABLE tasks;--", "{{7*7}}${7*7}", "..x", "a+b"]


@pytest.fixture
def client(public_service: PublicService) -> Iterator[Platform]:
    explicit = {**public_service.variables, "HUD_RETRY_LIMIT_S": "60"}
    with Platform(settings.load(explicit)) as platform:
        yield platform


def encoded(*rows: dict[str, Any]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_pa_23_a_name_travels_percent_encoded_and_as_it_is(
    client: Platform, public_service: PublicService, name: str
) -> None:
    identifier = public_service.add_taskset(name)
    found = tasksets.find(client, name)
    assert found is not None
    assert (found.id, found.name) == (identifier, name)
    assert public_service.requests[0].path.count("/") == 4  # /v2/tasksets/by-name/{name}


def test_pa_03_an_id_is_looked_up_with_and_without_dashes(client: Platform, public_service: PublicService) -> None:
    identifier = public_service.add_taskset("demo")
    for reference in (identifier, identifier.replace("-", ""), identifier.upper()):
        found = tasksets.find(client, reference)
        assert found is not None
        assert found.name == "demo"
    assert {request.path for request in public_service.requests} == {f"/v2/tasksets/{identifier}"}


def test_a_taskset_that_is_not_there_is_none(client: Platform) -> None:
    assert tasksets.find(client, "demo") is None
    assert tasksets.find(client, "99999999-9999-4999-8999-999999999999") is None


def test_a_name_that_is_no_text_is_refused(client: Platform) -> None:
    with pytest.raises(UsageError, match="is no name of a taskset: it is not UTF-8"):
        tasksets.find(client, "a\udcff")


def test_an_export_of_an_unknown_taskset_is_an_error_and_no_empty_one(client: Platform) -> None:
    with pytest.raises(NotFoundError):
        tasksets.export(client, "99999999-9999-4999-8999-999999999999")


def test_pa_37_an_upload_has_exactly_the_fields_of_the_specification(
    client: Platform, public_service: PublicService
) -> None:
    reply = tasksets.upload(client, encoded(ROW), name="demo")
    tasksets.upload(client, encoded(ROW), name="demo", taskset_id=reply.taskset_id, project_id="p")
    bodies = [request.json for request in public_service.requests]
    assert bodies[0] == {"taskset_name": "demo", "tasks": [ROW]}
    ids = {"taskset_id": reply.taskset_id, "project_id": "p"}
    assert bodies[1] == {"taskset_name": "demo", "tasks": [ROW], **ids}
    assert '"n": 1.0' in public_service.requests[0].body.decode()


def test_a_lost_reply_of_an_upload_is_asked_for_again(client: Platform, public_service: PublicService) -> None:
    again = Scripted(status=503, headers={"Retry-After": "0"}, acted=True)
    public_service.script("POST", ".*/tasks/upload", again)
    reply = tasksets.upload(client, encoded(ROW), name="demo")
    assert (reply.tasks_created, reply.tasks_updated) == (0, 1)
    assert len(public_service.tasksets) == 1


def test_pa_20_what_the_platform_says_of_each_row_is_shown_line_by_line(
    client: Platform, public_service: PublicService
) -> None:
    detail = "a: unknown environment 'e'\nb: args do not fit: 'n' is a required property"
    public_service.script("POST", ".*/tasks/upload", Scripted(status=400, body={"detail": detail}))
    with pytest.raises(PlatformError) as caught:
        tasksets.upload(client, encoded(ROW), name="demo")
    assert caught.value.message == detail


def test_batches_keep_both_limits_and_the_order(client: Platform, public_service: PublicService) -> None:
    public_service.script("PUT", ".*/task-uploads/.*", Scripted(status=204), always=True)
    public_service.script("POST", ".*/commit", REPLY)
    small = [{**ROW, "name": f"s{index}"} for index in range(2 * tasksets.BATCH_ROWS + 1)]
    large = [{**ROW, "name": f"l{index}", "args": {"text": "x" * 1_500_000}} for index in range(3)]
    huge = {**ROW, "name": "huge", "args": {"text": "x" * 5_000_000}}
    told: list[int] = []
    tasksets.upload_in_batches(client, encoded(*small, *large, huge), name="demo", progress=told.append)
    puts = [request for request in public_service.requests if request.method == "PUT"]
    batches = [[json.loads(line)["name"] for line in request.body.splitlines()] for request in puts]
    assert [name for batch in batches for name in batch] == [row["name"] for row in (*small, *large, huge)]
    assert all(len(batch) <= tasksets.BATCH_ROWS for batch in batches)
    assert all(len(request.body) <= tasksets.BATCH_BYTES for request in puts if b"huge" not in request.body)
    assert [request.path.rpartition("/")[2] for request in puts] == [str(number) for number in range(len(puts))]
    assert told[-1] == len(small) + 4


def test_a_commit_says_what_it_is_for(client: Platform, public_service: PublicService) -> None:
    public_service.script("PUT", ".*/task-uploads/.*", Scripted(status=204), always=True)
    public_service.script("POST", ".*/commit", REPLY, always=True)
    tasksets.upload_in_batches(client, encoded(ROW), name="demo", project_id="p")
    tasksets.upload_in_batches(client, [], name="demo", taskset_id="i", remove=["b"], base_digest="d")
    first, second = (request for request in public_service.requests if request.path.endswith("/commit"))
    assert first.json == {"taskset_name": "demo", "project_id": "p", "batches": 1, "remove": []}
    assert second.json == {"taskset_id": "i", "batches": 0, "remove": ["b"], "base_digest": "d"}
    assert first.path != second.path


def test_a_batch_and_a_commit_are_sent_again_under_their_id(client: Platform, public_service: PublicService) -> None:
    now = {"Retry-After": "0"}
    public_service.script("PUT", ".*/task-uploads/.*", Scripted(status=503, headers=now), Scripted(status=204))
    public_service.script("POST", ".*/commit", Scripted(status=502, headers=now), REPLY)
    reply = tasksets.upload_in_batches(client, encoded(ROW), name="demo")
    assert reply.tasks_created == 1
    assert len({request.path for request in public_service.requests}) == 2
    assert len(public_service.requests) == 4


def test_somebody_elses_sync_is_told_from_other_conflicts(client: Platform, public_service: PublicService) -> None:
    conflict = Scripted(status=409, body={"detail": "the taskset is of another project"})
    public_service.script("PUT", ".*/task-uploads/.*", Scripted(status=204), always=True)
    public_service.script("POST", ".*/commit", conflict, always=True)
    there = public_service.add_taskset("demo")
    state = Scripted(body={"revision": 2, "digest": "new", "tasks": {}})
    public_service.script("GET", ".*/signatures", state, always=True)
    with pytest.raises(PlatformError) as caught:
        tasksets.upload_in_batches(client, encoded(ROW), name="demo", taskset_id=there, base_digest="old")
    assert caught.value.message == "someone else synced 'demo' since it was compared; nothing was uploaded"
    assert caught.value.kind == "conflict"
    assert "--force" in (caught.value.hint or "")
    with pytest.raises(PlatformError, match="another project"):
        tasksets.upload_in_batches(client, encoded(ROW), name="demo", taskset_id=there, base_digest="new")


def test_what_only_our_platform_has_is_said_elsewhere(client: Platform, public_service: PublicService) -> None:
    for call in (
        lambda: tasksets.list_tasksets(client),
        lambda: tasksets.revisions(client, "i"),
        lambda: tasksets.rollback(client, "i", 1),
    ):
        with pytest.raises(HudError, match="does not offer"):
            call()
    assert [request.path for request in public_service.requests] == ["/v2/capabilities"]


def test_a_taskset_is_loaded_from_the_platform(public_service: PublicService, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in public_service.variables.items():
        monkeypatch.setenv(name, value)
    verifier = {"env": "judge", "id": "judge", "args": {"k": 2}, "slug": "judge-e3d67ba2"}
    record = {"name": "a", "env": "e", "scenario": "t", "args": None, "columns": {"x": None}, "verifier": verifier}
    identifier = public_service.add_taskset("demo", [record])
    for reference in ("demo", identifier):
        loaded = Taskset.from_api(reference)
        assert (loaded.name, loaded.taskset_id) == ("demo", identifier)
        assert [task.to_row() for task in loaded] == [
            {"env": "e", "id": "t", "args": {}, "slug": "a", "columns": {"x": None}, "verifier": verifier}
        ]


def test_a_taskset_that_is_not_there_is_a_value_error(
    public_service: PublicService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in public_service.variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"^there is no taskset 'demo' on http://127.0.0.1:"):
        Taskset.from_api("demo")


def test_a_connection_that_breaks_is_told(client: Platform, public_service: PublicService) -> None:
    public_service.script("GET", ".*/export", DROP, always=True)
    impatient = settings.load({**public_service.variables, "HUD_RETRY_LIMIT_S": "0"})
    with Platform(impatient) as platform, pytest.raises(UnreachableError, match="broke off"):
        tasksets.export(platform, "i")
