"""Liveness, readiness, metrics, the pages, and an end in order."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import bench
from tests.platform_process import PlatformProcess

Fresh = Callable[..., PlatformProcess]


def test_health_needs_no_key_and_names_the_version(platform: PlatformProcess) -> None:
    reply = platform.as_key(None).get("/health")

    assert reply.status_code == 200
    assert reply.json()["status"] == "ok"
    assert re.fullmatch(r"\d+\.\d+.*", reply.json()["version"])


def test_ready_says_how_each_part_is(platform: PlatformProcess) -> None:
    reply = platform.as_key(None).get("/ready")

    assert reply.status_code == 200
    assert reply.json()["status"] == "ready"
    assert [reply.json()[part] for part in ("database", "blobs", "disk")] == ["ok"] * 3
    assert reply.json()["engine"]


def test_without_an_engine_a_platform_is_ready_and_says_so(fresh_platform: Fresh) -> None:
    platform = fresh_platform(DOCKER_HOST="unix:///nowhere/docker.sock")
    reply = platform.client.get("/ready")

    assert reply.status_code == 200
    assert reply.json()["engine"].startswith("not reachable: ")


def test_metrics_count_requests_by_route_and_status(fresh_platform: Fresh) -> None:
    platform = fresh_platform()
    for _ in range(3):
        platform.client.get("/v2/projects/00000000-0000-0000-0000-000000000000")
    platform.client.get("/nothing-there")
    families = {family.name: family for family in text_string_to_metric_families(platform.client.get("/metrics").text)}
    counted = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["hud_requests"].samples
        if sample.name == "hud_requests_total"
    }
    times = [sample for sample in families["hud_request_seconds"].samples if sample.name.endswith("_count")]

    assert counted["/v2/projects/{project_id}", "404"] == 3
    assert counted["unknown", "404"] == 1  # no path of a stranger becomes a label
    assert sum(sample.value for sample in times) == sum(counted.values())


def test_metrics_want_a_key(platform: PlatformProcess) -> None:
    assert platform.as_key(None).get("/metrics").status_code == 401


def test_the_front_page_is_for_people_and_for_programs(platform: PlatformProcess) -> None:
    page = platform.as_key(None).get("/", headers={"Accept": "text/html"})
    document = platform.as_key(None).get("/")

    assert f"hud login --url {platform.url}" in page.text
    assert document.json()["docs"] == f"{platform.url}/docs"


def test_the_docs_need_no_network_and_hold_every_route(platform: PlatformProcess) -> None:
    page = platform.as_key(None).get("/docs")
    document = platform.as_key(None).get("/docs/openapi.json").json()

    assert document["openapi"].startswith("3.")
    assert {"/v2/auth/me", "/v2/projects/{project_id}", "/auth/device/token"} <= set(document["paths"])
    assert all(path in page.text.replace("&#x27;", "'") for path in document["paths"])
    assert "<script" not in page.text
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_every_route_is_described(platform: PlatformProcess) -> None:
    document = platform.as_key(None).get("/docs/openapi.json").json()
    silent = [
        f"{method} {path}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if not operation.get("description")
    ]

    assert silent == []


def test_usage_events_are_answered_at_once_and_forgotten(platform: PlatformProcess) -> None:
    for path in ("/v3/api/sdk-events/cli", "/v2/sdk-events/cli"):
        reply = platform.as_key(None).post(path, json={"events": [{"command": "deploy", "install_id": "secret-id"}]})
        assert (reply.status_code, reply.content) == (204, b"")
    assert "secret-id" not in platform.log()


def test_capabilities_name_what_is_offered(platform: PlatformProcess) -> None:
    document = platform.client.get("/v2/capabilities").json()

    assert document["server"] == "hud-platform"
    assert {"keys", "contexts", "builds", "environments", "tasksets"} == set(document["extensions"])


def test_it_ends_in_order_and_an_open_connection_does_not_hold_it(fresh_platform: Fresh) -> None:
    platform = fresh_platform()
    port = int(platform.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as idle:
        assert platform.stop() == 0
        with suppress(ConnectionResetError):
            assert idle.recv(1) == b""
    assert "stopping" in platform.log()


def test_ctrl_c_ends_it_in_order_too(fresh_platform: Fresh) -> None:
    assert fresh_platform().stop(signal.SIGINT) == 0


def test_it_says_nothing_on_stderr_but_warnings(fresh_platform: Fresh) -> None:
    platform = fresh_platform()
    platform.client.get("/v2/nothing")
    platform.stop()

    assert platform.stderr() == ""


@pytest.mark.slow
def test_on_postgresql_it_is_the_same_platform(fresh_platform: Fresh) -> None:
    platform = fresh_platform("--database", bench.require_postgres())
    project = platform.client.post("/v2/projects", json={"name": "kept"}).json()
    key = platform.mint("read")
    platform.stop(signal.SIGKILL)
    platform.words = ()  # the data folder remembers where the records are
    platform.start()

    assert platform.client.get(f"/v2/projects/{project['id']}").json() == project
    assert platform.as_key(key).get("/v2/auth/me").json()["scope"] == "read"
    assert platform.client.get("/ready").json()["database"] == "ok"
    assert platform.client.delete("/v2/keys/test").status_code == 204
    assert platform.as_key(key).get("/v2/auth/me").status_code == 401
    assert not (platform.data / "platform.sqlite").exists()
