"""Projects: a default one from the start, found by name or id, made by who may write."""

from __future__ import annotations

import uuid

import pytest

from tests.platform_process import PlatformProcess


def test_pa_09_every_record_says_whether_one_may_create_in_it(platform: PlatformProcess) -> None:
    page = platform.client.get("/v2/projects", params={"limit": 500, "offset": 0}).json()

    assert page["total"] == len(page["items"]) >= 1
    assert all(record["capabilities"] == {"create": True} for record in page["items"])
    assert [record["is_default"] for record in page["items"]].count(True) == 1
    assert page["items"][0]["is_default"]


def test_a_key_that_only_reads_may_not_create_in_a_project(platform: PlatformProcess) -> None:
    client = platform.as_key(platform.mint("read"))

    assert client.get("/v2/projects").json()["items"][0]["capabilities"] == {"create": False}
    assert client.post("/v2/projects", json={"name": "no"}).status_code == 403


def test_a_name_is_normalised_and_taken_once(platform: PlatformProcess) -> None:
    name = f"My__Proj {uuid.uuid4().hex}!"
    made = platform.client.post("/v2/projects", json={"name": name, "description": "d"})
    again = platform.client.post("/v2/projects", json={"name": name})

    assert made.status_code == 201
    assert made.json()["name"] == name.lower().replace("__", "-").replace(" ", "-").rstrip("!")
    assert again.status_code == 409
    assert again.json()["code"] == "conflict"


def test_pa_03_both_forms_of_an_id_name_the_same_project(platform: PlatformProcess) -> None:
    record = platform.client.get("/v2/projects", params={"limit": 1}).json()["items"][0]

    assert platform.client.get(f"/v2/projects/{record['id']}").json() == record
    assert platform.client.get(f"/v2/projects/{record['id'].replace('-', '')}").json() == record
    assert platform.client.get(f"/v2/projects/{record['id'].upper()}").json() == record
    assert str(uuid.UUID(record["id"])) == record["id"]  # PA-22


@pytest.mark.parametrize(
    "reference", ["3e1f038e-f22d-48e5-9b85-abc5342d133a", "default", "x" * 400, "' OR 1=1 --", "{{7*7}}"]
)
def test_an_unknown_id_is_not_found_and_named(platform: PlatformProcess, reference: str) -> None:
    reply = platform.client.get(f"/v2/projects/{reference}")

    assert reply.status_code == 404
    assert reference in reply.json()["detail"]


@pytest.mark.parametrize("name", ["", "   ", "!!!", "日本", "x" * 256])
def test_a_name_of_which_nothing_is_left_is_refused(platform: PlatformProcess, name: str) -> None:
    reply = platform.client.post("/v2/projects", json={"name": name})

    assert reply.status_code == 400
    assert "cannot name a project" in reply.json()["detail"]


def test_search_takes_wildcards_as_letters(platform: PlatformProcess) -> None:
    assert platform.client.get("/v2/projects", params={"search": "%"}).json() == {"items": [], "total": 0}
    assert platform.client.get("/v2/projects", params={"search": "_"}).json() == {"items": [], "total": 0}
    assert platform.client.get("/v2/projects", params={"search": "DEFAU"}).json()["items"][0]["name"] == "default"


def test_pa_06_pages_up_to_the_total_are_never_empty(platform: PlatformProcess) -> None:
    for _ in range(3):
        platform.client.post("/v2/projects", json={"name": f"page-{uuid.uuid4().hex}"})
    names: list[str] = []
    total = 1
    while len(names) < total:
        page = platform.client.get("/v2/projects", params={"limit": 2, "offset": len(names)}).json()
        assert page["items"]
        names += [record["name"] for record in page["items"]]
        total = page["total"]

    assert len(set(names)) == total
