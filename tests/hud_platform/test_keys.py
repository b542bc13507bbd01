"""API keys: hashed at rest, scoped, revoked at once, seen used."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.platform_process import PlatformProcess


def test_a_key_is_nowhere_in_the_database(platform: PlatformProcess) -> None:
    key = platform.mint("write")
    with closing(sqlite3.connect(platform.data / "platform.sqlite")) as database:
        dump = "\n".join(database.iterdump())

    assert key not in dump
    assert key[12:] not in dump
    assert key[:12] in dump  # by which people tell keys apart


def test_a_revoked_key_is_refused_by_the_next_request(platform: PlatformProcess) -> None:
    minted = platform.client.post("/v2/keys", json={"name": "short-lived", "scope": "read"}).json()
    client = platform.as_key(minted["key"])
    assert client.get("/v2/auth/me").status_code == 200

    assert platform.client.delete(f"/v2/keys/{minted['record']['id']}").status_code == 204
    assert client.get("/v2/auth/me").status_code == 401


def test_a_key_revoked_by_another_process_is_refused_within_two_seconds(platform: PlatformProcess) -> None:
    minted = platform.client.post("/v2/keys", json={"name": "elsewhere", "scope": "read"}).json()
    client = platform.as_key(minted["key"])
    assert client.get("/v2/auth/me").status_code == 200
    with closing(sqlite3.connect(platform.data / "platform.sqlite")) as database, database:
        database.execute(
            "UPDATE api_keys SET revoked_at = '2026-01-01 00:00:00' WHERE id = ?",
            (uuid.UUID(minted["record"]["id"]).hex,),
        )
    time.sleep(1.5)

    assert client.get("/v2/auth/me").status_code == 401


def test_a_list_holds_no_key(platform: PlatformProcess) -> None:
    key = platform.mint("read", name="listed")
    page = platform.client.get("/v2/keys")
    record = next(record for record in page.json()["items"] if record["name"] == "listed")

    assert key not in page.text
    assert record["prefix"] == key[:12]
    assert record["created_at"].endswith("Z")
    assert str(uuid.UUID(record["id"])) == record["id"]  # PA-22


def test_a_list_says_when_a_key_was_last_used(platform: PlatformProcess) -> None:
    key = platform.mint("read", name="used")
    platform.as_key(key).get("/v2/auth/me")
    record = next(record for record in platform.client.get("/v2/keys").json()["items"] if record["prefix"] == key[:12])

    assert record["last_used_at"] >= record["created_at"]


@pytest.mark.parametrize("reference", ["name", "prefix", "id", "hex"])
def test_a_key_is_revoked_by_its_name_its_prefix_or_its_id(platform: PlatformProcess, reference: str) -> None:
    name = f"by-{uuid.uuid4()}"
    record = platform.client.post("/v2/keys", json={"name": name, "scope": "read"}).json()["record"]
    word = {"name": name, "prefix": record["prefix"], "id": record["id"], "hex": record["id"].replace("-", "")}

    assert platform.client.delete(f"/v2/keys/{word[reference]}").status_code == 204
    assert platform.client.delete(f"/v2/keys/{word[reference]}").status_code == 404


def test_a_name_that_two_keys_have_revokes_neither(platform: PlatformProcess) -> None:
    name = f"twin-{uuid.uuid4()}"
    for _ in range(2):
        platform.mint("read", name=name)
    reply = platform.client.delete(f"/v2/keys/{name}")

    assert reply.status_code == 400
    assert "2 keys are named" in reply.json()["detail"]
    assert "hud platform key revoke" in reply.json()["hint"]


@pytest.mark.parametrize("prefix", ["hud_", "hud_%", "", "%"])
def test_too_short_a_prefix_revokes_nothing(platform: PlatformProcess, prefix: str) -> None:
    assert platform.client.request("DELETE", f"/v2/keys/{prefix}").status_code in (404, 405)
    assert platform.client.get("/v2/auth/me").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "scope": "root"}, 422),
        ({"name": "", "scope": "read"}, 400),
        ({"name": "x" * 256, "scope": "read"}, 400),
        ({"name": "a\nb", "scope": "read"}, 400),
        ({"scope": "read"}, 422),
        ([], 422),
    ],
    ids=["scope", "empty", "long", "newline", "nameless", "list"],
)
def test_a_key_that_cannot_be_made_is_refused(platform: PlatformProcess, body: object, status: int) -> None:
    assert platform.client.post("/v2/keys", json=body).status_code == status


def test_pa_08_identity_survives_key_rotation_and_restart(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    me = platform.client.get("/v2/auth/me").json()
    other = platform.mint("admin", name="rotated")
    first = platform.key
    assert platform.as_key(other).delete("/v2/keys/admin").status_code == 204
    platform.stop()
    platform.start()
    again = platform.as_key(other).get("/v2/auth/me").json()

    assert (again["user_id"], again["team_id"]) == (me["user_id"], me["team_id"])
    assert platform.as_key(first).get("/v2/auth/me").status_code == 401
    assert platform.key is None  # the one in the data folder is revoked, and nothing makes another by itself
