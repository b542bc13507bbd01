"""The public flow's archive: a signed address, one object, whole or not at all (PA-18)."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import create_engine, select

from hud_platform.storage.tables import uploads
from tests.hud_platform.test_contexts import cut, eventually, peak_bytes, raw_post
from tests.platform_process import PlatformProcess

GZIP = {"Content-Type": "application/gzip"}


def ticket(platform: PlatformProcess) -> tuple[str, str]:
    """Give a build's id and the address of its archive."""
    reply = platform.client.post("/v2/builds/upload-url").raise_for_status().json()
    assert set(reply) == {"build_id", "upload_url"}
    return reply["build_id"], reply["upload_url"]


def stored(platform: PlatformProcess, build_id: str) -> Path:
    return platform.data / "uploads" / f"{build_id}.tar.gz"


def is_complete(platform: PlatformProcess, build_id: str) -> bool:
    engine = create_engine(f"sqlite:///{platform.data / 'platform.sqlite'}")
    try:
        with engine.connect() as connection:
            query = select(uploads.c.completed_at).where(uploads.c.build_id == uuid.UUID(build_id))
            return connection.scalar(query) is not None
    finally:
        engine.dispose()


def test_an_archive_is_put_without_a_key_and_kept_byte_for_byte(platform: PlatformProcess) -> None:
    build_id, url = ticket(platform)
    content = os.urandom(300_000)
    reply = httpx.put(url, content=content, headers=GZIP)

    assert reply.status_code == 200
    sha256 = hashlib.sha256(content).hexdigest()
    assert reply.json() == {"build_id": build_id, "size_bytes": 300_000, "sha256": sha256}
    assert stored(platform, build_id).read_bytes() == content
    assert is_complete(platform, build_id)


def test_the_address_is_on_the_host_by_which_the_client_came(platform: PlatformProcess) -> None:
    port = urlsplit(platform.url).port
    reply = httpx.post(
        f"http://localhost:{port}/v2/builds/upload-url", headers={"Authorization": f"Bearer {platform.key}"}
    )

    assert reply.json()["upload_url"].startswith(f"http://localhost:{port}/uploads/")


def test_behind_a_proxy_the_address_is_the_proxys(fresh_platform: Callable[..., PlatformProcess]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    platform = fresh_platform("--url", "https://hud.example/below", "--port", str(port))
    headers = {"Authorization": f"Bearer {platform.key}"}
    reply = httpx.post(f"http://127.0.0.1:{port}/v2/builds/upload-url", headers=headers)

    assert reply.json()["upload_url"].startswith("https://hud.example/below/uploads/")


def test_the_address_is_good_for_an_hour_and_more(platform: PlatformProcess) -> None:
    expires = int(parse_qs(urlsplit(ticket(platform)[1]).query)["expires"][0])

    assert datetime.fromtimestamp(expires, UTC) - datetime.now(UTC) > timedelta(hours=1)


@pytest.mark.parametrize("change", ["expires", "signature", "another build", "nothing"])
def test_an_address_that_was_changed_takes_nothing(platform: PlatformProcess, change: str) -> None:
    (build_id, url), (other_id, _) = ticket(platform), ticket(platform)
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if change == "expires":
        query["expires"] = str(int(query["expires"]) + 1)
    elif change == "signature":
        query["signature"] = "é" + query["signature"][1:]
    path = parts.path.replace(build_id, other_id) if change == "another build" else parts.path
    reply = httpx.put(f"{platform.url}{path}?{urlencode(query)}", content=b"x", headers=GZIP)

    if change == "nothing":
        assert reply.status_code == 200
        return
    assert reply.status_code == 403
    assert reply.json()["detail"] == "this upload address was not made here, or was changed"
    assert not stored(platform, build_id).exists()
    assert not stored(platform, other_id).exists()


def test_a_second_archive_replaces_the_first_before_the_build(platform: PlatformProcess) -> None:
    build_id, url = ticket(platform)
    for content in (b"first" * 1000, b"second"):
        httpx.put(url, content=content, headers=GZIP).raise_for_status()

    assert stored(platform, build_id).read_bytes() == b"second"


def test_an_archive_without_an_announced_length_is_taken(platform: PlatformProcess) -> None:
    build_id, url = ticket(platform)
    httpx.put(url, content=iter([b"a" * 100_000, b"b"]), headers=GZIP).raise_for_status()

    assert stored(platform, build_id).stat().st_size == 100_001


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
def test_an_upload_that_is_cut_is_not_complete_and_leaves_nothing(platform: PlatformProcess, hard: bool) -> None:
    build_id, url = ticket(platform)
    path = url.removeprefix(platform.url)
    for length in (0, 1, 1000, 99_999):
        connection = raw_post(platform, path, 100_000, method="PUT")
        connection.sendall(bytes(length))
        cut(connection, hard=hard)
    eventually(lambda: not list((platform.data / "uploads").glob(f"{build_id}*")))
    trigger = platform.client.post(
        "/v2/builds/trigger", json={"source": "direct", "build_id": build_id, "name": "x", "no_cache": False}
    )

    assert not is_complete(platform, build_id)
    assert trigger.status_code == 409
    assert trigger.json()["detail"] == f"no context archive was uploaded for build {build_id}"


def test_a_later_upload_that_is_cut_leaves_the_one_before(platform: PlatformProcess) -> None:
    build_id, url = ticket(platform)
    httpx.put(url, content=b"whole", headers=GZIP).raise_for_status()
    connection = raw_post(platform, url.removeprefix(platform.url), 100_000, method="PUT")
    connection.sendall(bytes(50_000))
    cut(connection, hard=True)
    eventually(lambda: len(list((platform.data / "uploads").glob(f"{build_id}*"))) == 1)

    assert stored(platform, build_id).read_bytes() == b"whole"
    assert is_complete(platform, build_id)


def test_pa_18_a_trigger_for_an_id_that_nobody_gave_out_is_refused(platform: PlatformProcess) -> None:
    build_id = str(uuid.uuid4())
    reply = platform.client.post(
        "/v2/builds/trigger", json={"source": "direct", "build_id": build_id, "name": "x", "no_cache": False}
    )

    assert reply.status_code == 409
    assert reply.json()["detail"] == f"no context archive was uploaded for build {build_id}"
    assert "PUT it to the upload_url" in reply.json()["hint"]


def test_an_archive_beyond_the_limit_is_413_announced_or_not(
    fresh_platform: Callable[..., PlatformProcess],
) -> None:
    platform = fresh_platform("--upload-limit", "1")
    build_id, url = ticket(platform)
    for content in (bytes(2**20 + 1), iter([bytes(2**19), bytes(2**19 + 1)])):
        reply = httpx.put(url, content=content, headers=GZIP)
        assert reply.status_code == 413
        assert "larger than the 1048576 bytes that this platform takes" in reply.json()["detail"]
    httpx.put(url, content=bytes(2**20), headers=GZIP).raise_for_status()

    assert [path.name for path in (platform.data / "uploads").iterdir()] == [f"{build_id}.tar.gz"]


def test_a_large_archive_arrives_in_flat_memory(platform: PlatformProcess) -> None:
    part = os.urandom(2**20)
    httpx.put(ticket(platform)[1], content=part, headers=GZIP).raise_for_status()
    before = peak_bytes(platform.pid)
    build_id, url = ticket(platform)
    httpx.put(url, content=(part for _ in range(200)), headers=GZIP, timeout=60).raise_for_status()

    assert stored(platform, build_id).stat().st_size == 200 * 2**20
    assert peak_bytes(platform.pid) - before < 48 * 2**20


def test_pa_02_an_address_is_given_out_for_a_key_that_writes(platform: PlatformProcess) -> None:
    reader = platform.as_key(platform.mint("read"))

    assert reader.post("/v2/builds/upload-url").status_code == 403
    assert platform.as_key(None).post("/v2/builds/upload-url").status_code == 401
