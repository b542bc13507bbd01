"""`hud build`: builds by id: listed, followed again, cancelled."""

from __future__ import annotations

import gzip
import json
import uuid

import pytest

from tests.hud_cli.conftest import Hud
from tests.platform_process import PlatformProcess
from tests.stand_in import FRAMES, PublicService

UNKNOWN = "99999999-9999-4999-8999-999999999999"


def failed_build(platform: PlatformProcess) -> tuple[str, str]:
    """Have a build fail, for it has no Dockerfile; give its id and its environment's name."""
    name = f"env-{uuid.uuid4().hex[:8]}"
    ticket = platform.client.post("/v2/builds/upload-url").json()
    content, kind = gzip.compress(bytes(1024)), {"Content-Type": "application/gzip"}
    platform.client.put(ticket["upload_url"], content=content, headers=kind).raise_for_status()
    body = {"source": "direct", "build_id": ticket["build_id"], "name": name, "no_cache": False}
    platform.client.post("/v2/builds/trigger", json=body).raise_for_status()
    return ticket["build_id"], name


def test_the_log_of_an_ended_build_is_data_and_its_end_the_exit_code(hud: Hud, platform: PlatformProcess) -> None:
    build, _ = failed_build(platform)
    done = hud("build", "logs", build, **platform.settings)
    assert done.code == 1
    assert done.out.startswith("Connected to build logs\nPreparing the context\n")
    assert done.out.endswith("Build failed\n")
    assert done.err.startswith("The build ended: FAILED, ")


def test_a_log_in_json_is_one_document_with_every_frame(hud: Hud, platform: PlatformProcess) -> None:
    build, name = failed_build(platform)
    document = json.loads(hud("build", "logs", build, "--json", **platform.settings).out)
    assert (document["id"], document["status"], document["registry_name"]) == (build, "FAILED", name)
    assert [frame["seq"] for frame in document["log"] if "seq" in frame] == list(
        range(sum("seq" in frame for frame in document["log"]))
    )
    assert document["log"][-1]["final_status"] == "FAILED"


def test_builds_are_listed_newest_first_and_by_environment(hud: Hud, platform: PlatformProcess) -> None:
    builds = [failed_build(platform) for _ in range(2)]
    for build, _ in builds:
        hud("build", "logs", build, **platform.settings)
    ids = hud("build", "list", "--quiet", "-n", "2", **platform.settings).out.split()
    assert ids == [build for build, _ in reversed(builds)]
    build, name = builds[0]
    (row,) = json.loads(hud("build", "list", "--env", name, "--json", **platform.settings).out)
    assert (row["id"], row["registry_name"], row["status"], row["version"]) == (build, name, "FAILED", None)
    assert f"{build}  {name}  FAILED" in hud("build", "list", **platform.settings).out


@pytest.mark.parametrize("words", [("logs",), ("cancel",), ("logs", "--no-follow")])
def test_a_build_that_is_not_there_is_said(hud: Hud, platform: PlatformProcess, words: tuple[str, ...]) -> None:
    for build in (UNKNOWN, "no-id", "../auth/me"):
        done = hud("build", *words, build, **platform.settings)
        assert (done.code, done.out) == (1, ""), done.err
        assert done.err.startswith("Error: ")


def test_a_build_that_has_ended_stays_as_it_is(hud: Hud, platform: PlatformProcess) -> None:
    build, _ = failed_build(platform)
    hud("build", "logs", build, **platform.settings)
    done = hud("build", "cancel", build, "--json", **platform.settings)
    assert (done.code, json.loads(done.out)) == (0, {"id": build, "cancelled": False})
    assert hud("build", "cancel", build, **platform.settings).err == "The build had ended.\n"


def test_a_key_that_may_only_read_cancels_nothing(hud: Hud, platform: PlatformProcess) -> None:
    build, _ = failed_build(platform)
    access = {**platform.settings, "HUD_API_KEY": platform.mint("read")}
    assert hud("build", "cancel", build, **access).code == 4
    assert hud("build", "logs", build, **access).code == 1


def test_weakness_7_a_public_build_can_be_attached_to_again(hud: Hud, public_service: PublicService) -> None:
    done = hud("build", "logs", "b-1", **public_service.variables)
    assert (done.code, done.out) == (
        0,
        "Connected to build logs\n#1 [internal] load build definition\nBuild SUCCEEDED\n",
    )
    assert done.err == "The build ended: SUCCEEDED\n"


def test_what_is_there_already_can_be_had_alone(hud: Hud, public_service: PublicService) -> None:
    public_service.statuses = [{"status": "IN_PROGRESS"}]
    public_service.frames, public_service.log_close = FRAMES[:3], None
    done = hud("build", "logs", "b-1", "--no-follow", timeout_s=20, **public_service.variables)
    assert (done.code, done.out) == (0, "Connected to build logs\n#1 [internal] load build definition\n")
    public_service.log_status = 404
    refused = hud("build", "logs", "b-1", "--no-follow", **public_service.variables)
    assert (refused.code, refused.err) == (0, "the log cannot be read: the platform does not stream it\n")


def test_the_public_service_lists_and_cancels_no_builds(hud: Hud, public_service: PublicService) -> None:
    listed = hud("build", "list", **public_service.variables)
    assert (listed.code, listed.err.splitlines()[0]) == (
        1,
        f"Error: {public_service.url} does not offer a list of builds",
    )
    cancelled = hud("build", "cancel", "b-1", "--json", **public_service.variables)
    assert cancelled.code == 1
    assert json.loads(cancelled.out)["message"] == f"{public_service.url} does not offer the cancelling of builds"
