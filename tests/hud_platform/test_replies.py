"""Errors are JSON with a sentence, whatever was sent (PA-04), and what passes is never a 500 (PA-05)."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.platform_process import PlatformProcess

Fresh = Callable[..., PlatformProcess]


def raw(platform: PlatformProcess, request: bytes) -> bytes:
    """Send bytes, and give all that comes back."""
    port = int(platform.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize(
    "path", ["/nothing", "/v2", "/v2/nothing", "/v2/projects/a/b", "/docs/x", "/static/../etc/passwd", "/%00", "/é"]
)
def test_pa_04_an_unknown_route_is_a_json_404(platform: PlatformProcess, path: str) -> None:
    reply = platform.client.get(path)

    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["code"] == "not_found"
    assert isinstance(reply.json()["detail"], str)


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v2/projects"), ("PUT", "/health"), ("PATCH", "/v2/auth/me")])
def test_pa_04_a_method_that_is_not_offered_is_a_json_405(platform: PlatformProcess, method: str, path: str) -> None:
    reply = platform.client.request(method, path)

    assert reply.status_code == 405
    assert reply.json()["detail"] == f"{path} does not answer to {method}"
    assert "GET" in reply.headers["allow"]


@pytest.mark.parametrize("path", ["/v2/auth/me/", "/v2//auth/me", "//v2/auth/me", "/v2/auth/me//"])
def test_pa_04_slashes_too_many_redirect_nobody(platform: PlatformProcess, path: str) -> None:
    reply = platform.client.get(f"{platform.url}{path}")

    assert reply.status_code == 200
    assert "user_id" in reply.json()


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b'{"name": "a"} x', b"[" * 100_000], ids=range(5))
def test_pa_04_what_is_no_json_is_a_400(platform: PlatformProcess, body: bytes) -> None:
    reply = platform.client.post("/v2/projects", content=body, headers={"Content-Type": "application/json"})

    assert reply.status_code == 400, reply.text
    assert isinstance(reply.json()["detail"], str)
    assert reply.json()["code"] == "usage"


def test_a_field_of_the_wrong_kind_is_named_in_a_list(platform: PlatformProcess) -> None:
    reply = platform.client.post("/v2/projects", json={"name": 3})

    assert reply.status_code == 422
    assert reply.json()["detail"] == [
        {"loc": ["body", "name"], "msg": "Expected `str`, got `int`", "type": "value_error"}
    ]


@pytest.mark.parametrize("path", ["projects", "registry", "builds", "tasksets", "keys"])
@pytest.mark.parametrize(
    "query", ["limit=x", "limit=0", "limit=-1", "offset=-1", "limit=1e99", f"limit={2**63}", f"offset={10**30}"]
)
def test_a_query_of_the_wrong_kind_is_refused(platform: PlatformProcess, path: str, query: str) -> None:
    reply = platform.client.get(f"/v2/{path}?{query}")

    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"][-1] in ("limit", "offset")


def test_pa_04_a_body_beyond_the_limit_is_a_413(platform: PlatformProcess) -> None:
    size = 65 * 2**20
    head = (
        f"POST /v2/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {platform.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    )
    head_of_reply, _, body = raw(platform, head.encode() + b"[" * 100_000).partition(b"\r\n\r\n")

    assert b" 413 " in head_of_reply.splitlines()[0]
    assert json.loads(body)["code"] == "too_large"


@pytest.mark.parametrize("path", ["/v2/projects", "/v2/contexts", "/v2/builds", "/v2/tasks/upload", "/v2/blobs"])
def test_pa_05_a_client_that_leaves_before_its_end_is_no_defect(platform: PlatformProcess, path: str) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {platform.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    )
    log = platform.data / "server.log"
    before = log.stat().st_size

    raw(platform, head.encode() + b"{")

    while f"POST {path} " not in (written := log.read_text()[before:]):
        time.sleep(0.01)
    assert f"POST {path} 400" in written
    assert "defect" not in written


@pytest.mark.parametrize("request_bytes", [b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n"])
def test_pa_04_what_is_no_http_is_answered_in_json_too(platform: PlatformProcess, request_bytes: bytes) -> None:
    head, _, body = raw(platform, request_bytes).partition(b"\r\n\r\n")

    assert b" 400 " in head.splitlines()[0]
    assert isinstance(json.loads(body)["detail"], str)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text() | st.integers() | st.none() | st.lists(st.text()),
    description=st.text() | st.none() | st.floats(allow_nan=False),
)
def test_no_body_brings_a_500(platform: PlatformProcess, name: object, description: object) -> None:
    body = json.dumps({"name": name, "description": description})  # lone surrogates too, as escapes
    reply = platform.client.post("/v2/projects", content=body, headers={"Content-Type": "application/json"})

    assert reply.status_code in (201, 400, 409, 422)
    assert reply.status_code == 201 or reply.json()["detail"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_characters="#?"), max_size=40))
def test_no_path_brings_a_500(platform: PlatformProcess, path: str) -> None:
    reply = platform.client.get("/v2/projects/" + quote(path))

    assert reply.status_code in (200, 400, 404)
    assert reply.headers["content-type"] == "application/json"


def test_pa_05_too_many_requests_at_once_are_refused_at_once(fresh_platform: Fresh) -> None:
    """Each of them holds a place while its body is awaited."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    platform = fresh_platform()
    address = ("127.0.0.1", int(platform.url.rpartition(":")[2]))
    head = f"POST /v2/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {platform.key}\r\nContent-Length: 9\r\n\r\n"
    waiting = []
    try:
        for _ in range(1000):
            waiting.append(socket.create_connection(address, timeout=10))
            waiting[-1].sendall(head.encode())
        refused = platform.client.get("/health")
        while refused.status_code == 200:  # the last ones are still on their way
            refused = platform.client.get("/health")
    finally:
        for connection in waiting:
            connection.close()
    while (again := platform.client.get("/health")).status_code == 503:
        pass

    assert refused.status_code == 503
    assert refused.json()["detail"] == "the platform answers too many requests now"
    assert refused.headers["retry-after"] == "1"
    assert again.status_code == 200


@pytest.mark.slow
def test_pa_05_a_database_that_another_process_holds_is_a_503(fresh_platform: Fresh) -> None:
    platform = fresh_platform()
    with closing(sqlite3.connect(platform.data / "platform.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = platform.as_key(platform.key).post("/v2/projects", json={"name": "later"}, timeout=60)
        reading = platform.client.get("/v2/projects")
        other.execute("ROLLBACK")
    assert refused.status_code == 503
    assert 0 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["detail"] == "the database is busy"
    assert reading.status_code == 200
    assert platform.client.post("/v2/projects", json={"name": "later"}).status_code == 201


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of some megabytes; skips where one cannot be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_pa_05_a_full_disk_is_a_503_that_says_so(fresh_platform: Fresh, small_disk: Path) -> None:
    platform = fresh_platform(data=small_disk / "data")
    try:
        before = platform.client.post("/v2/projects", json={"name": "before"}).json()
        with (small_disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(b"x" * 65536)
                filler.flush()
        replies = [
            platform.client.post("/v2/projects", json={"name": f"p{number}", "description": "x" * 9000})
            for number in range(40)
        ]
        refused = next(reply for reply in replies if reply.status_code != 201)
        assert refused.status_code == 503
        assert refused.json()["detail"] == "the platform's disk is full"
        assert refused.json()["hint"] == "free some space there, such as with hud platform gc"
        assert platform.client.get(f"/v2/projects/{before['id']}").json() == before
        assert platform.client.get("/ready").status_code == 503

        (small_disk / "filler").unlink()
        assert platform.client.post("/v2/projects", json={"name": "after"}).status_code == 201
    finally:
        platform.close()


def test_a_defect_is_told_by_an_id_that_is_in_the_log(fresh_platform: Fresh) -> None:
    platform = fresh_platform()
    with closing(sqlite3.connect(platform.data / "platform.sqlite")) as database, database:
        database.execute("UPDATE projects SET created_at = 'never'")  # what no code of ours writes
    reply = platform.client.get("/v2/projects")

    assert reply.status_code == 500
    defect_id = reply.json()["detail"].rpartition(" ")[2]
    assert reply.json()["hint"] == f"hud platform logs shows it under {defect_id}"
    assert "Traceback" not in reply.text
    assert f"defect {defect_id} in GET /v2/projects" in platform.log()
    assert "Traceback" in platform.log()
