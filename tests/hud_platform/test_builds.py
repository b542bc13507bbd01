"""A deploy becomes a version of its environment: built, asked what it is, registered once; or it says why not."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bench import require_docker
from tests.hud_platform.deploying import (
    deploy,
    end_of,
    files_of,
    new_name,
    register,
    send_missing,
    served,
    start_context_build,
    trigger,
    upload,
    watch,
)
from tests.platform_process import PlatformProcess

pytestmark = pytest.mark.docker

SECRET = "s3cret-of-the-build/+="
HANGS = "RUN echo begun && sleep 3600\n"


@pytest.fixture(autouse=True)
def _engine() -> None:
    require_docker()


def docker(*arguments: str) -> bytes:
    return subprocess.run([require_docker(), *arguments], capture_output=True, check=True).stdout


def test_a_deploy_registers_what_the_image_says_of_itself(platform: PlatformProcess, wheel: Path) -> None:
    name = new_name()
    ended = deploy(platform, served(wheel), name, source_revision="abc123")
    assert (ended["status"], ended["version"], ended["registry_name"]) == ("SUCCEEDED", 1, name)
    assert [task["id"] for task in ended["manifest"]["tasks"]] == ["add"]
    assert ended["manifest"]["tasks"][0]["args"]["required"] == ["a"]
    record = platform.client.get(f"/v2/registry/{ended['registry_id']}").json()
    assert record["latest_build"]["version"] == 1
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", ended["uri"]))
    assert labels["org.opencontainers.image.revision"] == "abc123"
    assert labels["hud.environment"] == name


def test_builds_are_counted_by_how_they_ended(platform: PlatformProcess, wheel: Path) -> None:
    def counted(name: str) -> float:
        lines = dict(line.rpartition(" ")[::2] for line in platform.client.get("/metrics").text.splitlines())
        return float(lines.get(name, 0))

    before = {status: counted(f'hud_builds_total{{status="{status}"}}') for status in ("SUCCEEDED", "FAILED")}
    archives = counted('hud_uploaded_bytes_total{kind="archives"}')
    deploy(platform, served(wheel), new_name())
    deploy(platform, served(wheel, steps="RUN exit 1"), new_name())
    for _ in range(100):  # a build's place in the queue goes a moment after its status says that it has ended
        if counted("hud_builds_running") == 0:
            break
        time.sleep(0.05)
    assert counted('hud_builds_total{status="SUCCEEDED"}') == before["SUCCEEDED"] + 1
    assert counted('hud_builds_total{status="FAILED"}') == before["FAILED"] + 1
    assert (counted("hud_builds_running"), counted("hud_builds_queued")) == (0, 0)
    assert counted('hud_uploaded_bytes_total{kind="archives"}') > archives


def test_pa_10_a_name_is_one_environment_however_it_is_written(platform: PlatformProcess, wheel: Path) -> None:
    name = new_name()
    first = deploy(platform, served(wheel), name)
    second = deploy(platform, served(wheel), name.replace("-", "_").upper())
    assert first["registry_id"] == second["registry_id"]
    assert (first["version"], second["version"]) == (1, 2)
    assert first["digest"] == second["digest"]


def test_two_deploys_of_one_name_at_once_become_two_versions_in_order(platform: PlatformProcess, wheel: Path) -> None:
    name = new_name()
    ids = [upload(platform, served(wheel, steps=f"RUN echo {number}")) for number in range(3)]
    for build_id in ids:
        trigger(platform, build_id, name).raise_for_status()
    ended = [end_of(platform, build_id) for build_id in ids]
    assert [end["version"] for end in ended] == [1, 2, 3]


def test_pa_07_a_trigger_sent_again_begins_nothing(platform: PlatformProcess, wheel: Path) -> None:
    name = new_name()
    build_id = upload(platform, served(wheel))
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: trigger(platform, build_id, name), range(4)))
    assert {(reply.status_code, reply.text) for reply in replies} == {(200, replies[0].text)}
    assert end_of(platform, build_id)["version"] == 1
    assert trigger(platform, uuid.UUID(build_id).hex, name).json() == replies[0].json()
    other = trigger(platform, build_id, name, no_cache=True)
    assert (other.status_code, other.json()["detail"]) == (409, f"build {build_id} was begun with other fields")
    listed = platform.client.get("/v2/builds", params={"registry_id": replies[0].json()["registry_id"]}).json()
    assert listed["total"] == 1


def test_pa_18_a_trigger_without_an_upload_says_so(platform: PlatformProcess) -> None:
    refused = trigger(platform, str(uuid.uuid4()), new_name())
    assert refused.status_code == 409
    assert "no context archive was uploaded" in refused.json()["detail"]


def test_a_context_is_built_from_what_changed(platform: PlatformProcess, wheel: Path) -> None:
    name, files = new_name(), served(wheel)
    digests, sent, ended = [], [], []
    for change in (b"", b"\n# changed\n", b""):
        changed = {**files, "env.py": files["env.py"] + change}
        digest = register(platform, changed)
        sent.append(send_missing(platform, digest, changed))
        build_id = str(uuid.uuid4())
        start_context_build(platform, build_id, name, digest).raise_for_status()
        ended.append(end_of(platform, build_id))
        digests.append(digest)
    assert sent[1:] == [1, 0]
    assert [(each["version"], each["context_digest"]) for each in ended] == [*enumerate(digests, start=1)]
    listed = platform.client.get(f"/v2/registry/{ended[0]['registry_id']}/versions").json()["items"]
    assert [row["context_digest"] for row in listed] == digests[::-1]


def test_a_context_that_lacks_blobs_is_not_built(platform: PlatformProcess) -> None:
    digest = register(platform, {"Dockerfile": uuid.uuid4().bytes, "b": uuid.uuid4().bytes})
    refused = start_context_build(platform, str(uuid.uuid4()), new_name(), digest)
    assert (refused.status_code, refused.json()["detail"]) == (409, f"the context {digest} lacks 2 of its blobs")
    unknown = start_context_build(platform, str(uuid.uuid4()), new_name(), "0" * 64)
    assert unknown.status_code == 404
    nothing = platform.client.post("/v2/builds", content=b"[]")
    assert nothing.status_code == 400


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"registry_id": str(uuid.uuid4())}, 404, "no environment has the id"),
        ({"project_id": str(uuid.uuid4())}, 404, "no project has the id"),
        ({"runtime_config": {"imagee": "x"}}, 400, "runtime config: unknown key imagee"),
        ({"runtime_config": {"resources": {"cpu": -1}}}, 400, "resources.cpu is -1"),
        ({"runtime_provider": "moon"}, 400, "runtime_provider is 'moon'"),
        ({"name": "___"}, 400, "cannot name an environment"),
        ({"build_secrets": {"a,src=/etc/shadow": "x"}}, 400, "cannot be the id of a build secret"),
        ({"build_args": {"A B": "x"}}, 400, "cannot name a build argument"),
        ({"environment_variables": {"A=B": "x"}}, 400, "cannot name an environment variable"),
    ],
)
def test_a_trigger_that_cannot_be_done_is_refused(
    platform: PlatformProcess, fields: dict[str, object], status: int, said: str
) -> None:
    build_id = upload(platform, files_of(""))
    refused = trigger(platform, build_id, **{"name": new_name(), **fields})  # type: ignore[arg-type]
    assert refused.status_code == status
    assert said in refused.json()["detail"]
    assert platform.client.get(f"/v2/builds/{build_id}/status").status_code == 404


def test_a_key_that_may_only_read_starts_and_stops_nothing(platform: PlatformProcess) -> None:
    reader = platform.as_key(platform.mint("read"))
    body = {"build_id": str(uuid.uuid4()), "name": "x"}
    assert reader.post("/v2/builds/trigger", json=body).status_code == 403
    assert reader.post(f"/v2/builds/{uuid.uuid4()}/cancel").status_code == 403
    assert reader.get("/v2/builds").status_code == 200


def test_pa_11_variables_are_kept_and_never_shown(platform: PlatformProcess) -> None:
    name = new_name()
    printing = files_of('CMD ["sh", "-c", "echo $FIRST:$SECOND; exit 7"]\n')
    values = {"FIRST": "value-of-first", "SECOND": "value-of-second"}
    deploy(platform, printing, name, environment_variables=values)
    ended = deploy(platform, printing, name, environment_variables={"SECOND": "another-value"})
    assert ended["status"] == "FAILED"
    assert "***:***" in ended["error_message"]
    everything = json.dumps(ended) + watch(platform, ended["id"]).text + platform.log()
    for value in (*values.values(), "another-value"):
        assert value not in everything


def test_pa_12_build_secrets_are_in_no_log_layer_or_database(platform: PlatformProcess, wheel: Path) -> None:
    loud = "RUN --mount=type=secret,id=token cat /run/secrets/token; base64 < /run/secrets/token"
    ended = deploy(platform, served(wheel, steps=loud), new_name(), build_secrets={"token": SECRET})
    assert ended["status"] == "SUCCEEDED"
    assert "***" in watch(platform, ended["id"]).text
    places = [docker("save", ended["uri"]), docker("history", "--no-trunc", ended["uri"])]
    places += [path.read_bytes() for path in platform.data.rglob("*") if path.is_file()]
    assert not [place for place in places if SECRET.encode() in place]
    with sqlite3.connect(platform.data / "platform.sqlite") as database:
        assert database.execute("SELECT count(*) FROM builds WHERE secrets_encrypted IS NOT NULL").fetchone() == (0,)


def test_a_build_that_fails_says_where_and_why(platform: PlatformProcess) -> None:
    ended = deploy(platform, files_of("RUN echo no such package >&2; exit 9\n"), new_name())
    assert (ended["status"], ended.get("version")) == ("FAILED", None)
    assert "the build failed at [2/2] RUN echo no such package" in ended["error_message"]
    assert "exit code: 9" in ended["error_message"]
    assert ended["error_message"] in watch(platform, ended["id"]).text


def test_an_image_that_does_not_answer_hello_is_not_registered(platform: PlatformProcess) -> None:
    ended = deploy(platform, files_of('CMD ["sh", "-c", "echo the last words; exit 3"]\n'), new_name())
    assert ended["status"] == "FAILED"
    assert "exited with code 3 before its control channel answered" in ended["error_message"]
    assert "the last words" in ended["error_message"]
    record = platform.client.get(f"/v2/registry/{ended['registry_id']}").json()
    assert "latest_build" not in record


def test_a_context_without_a_dockerfile_fails_and_says_so(platform: PlatformProcess) -> None:
    ended = deploy(platform, {"env.py": b""}, new_name())
    assert ended["status"] == "FAILED"
    assert "the context has no Dockerfile.hud and no Dockerfile" in ended["error_message"]


def test_pa_13_and_15_every_watcher_is_told_everything(platform: PlatformProcess) -> None:
    build_id = upload(platform, files_of("RUN echo one && sleep 1 && echo two && exit 1\n"))
    trigger(platform, build_id, new_name()).raise_for_status()
    with ThreadPoolExecutor(3) as pool:
        live = list(pool.map(lambda _: watch(platform, build_id), range(3)))
    late = watch(platform, build_id)
    assert all(seen.frames == late.frames for seen in live)
    first, *middle, update, complete = late.frames
    assert first == {"type": "status", "message": "Connected to build logs"}
    assert late.numbers == list(range(len(middle)))
    assert update == {"type": "status_update", "status": "FAILED"}
    assert complete == {"type": "complete", "message": "Build failed", "final_status": "FAILED"}
    assert {frame["type"] for frame in middle} == {"status", "log"}
    assert all(isinstance(frame["timestamp"], int) for frame in middle)
    assert late.close_code == 1000
    assert watch(platform, build_id, cursor=3).numbers == late.numbers[3:]


def test_pa_14_the_log_takes_a_key_both_ways_and_no_other(platform: PlatformProcess) -> None:
    ended = deploy(platform, files_of("RUN exit 1\n"), new_name())
    key = platform.mint("read")
    assert watch(platform, ended["id"], bearer=key).close_code == 1000
    assert watch(platform, ended["id"], key=key).close_code == 1000
    for refused in (watch(platform, ended["id"], key="hud_wrong"), watch(platform, str(uuid.uuid4()), key=key)):
        assert (refused.close_code, refused.frames) == (4003, [])
    assert key not in platform.log() + platform.stderr()


def test_pa_16_a_build_is_in_progress_until_its_end_also_while_it_waits(
    fresh_platform: Callable[..., PlatformProcess], wheel: Path
) -> None:
    platform = fresh_platform("--builds", "1")
    hanging, waiting = upload(platform, files_of(HANGS)), upload(platform, served(wheel))
    trigger(platform, hanging, new_name()).raise_for_status()
    watch(platform, hanging, until="begun")
    trigger(platform, waiting, new_name()).raise_for_status()
    state = platform.client.get(f"/v2/builds/{waiting}/status").json()
    assert (state["status"], state["queued"]) == ("IN_PROGRESS", True)
    assert platform.client.post(f"/v2/builds/{hanging}/cancel").json() == {"status": "accepted"}
    assert end_of(platform, hanging)["status"] == "STOPPED"
    assert end_of(platform, waiting)["status"] == "SUCCEEDED"


def test_a_build_is_cancelled_wherever_it_stands(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform("--builds", "1")
    running, queued = upload(platform, files_of(HANGS)), upload(platform, files_of(HANGS))
    for build_id in (running, queued):
        trigger(platform, build_id, new_name()).raise_for_status()
    watch(platform, running, until="begun")
    for build_id in (queued, running):
        assert platform.client.post(f"/v2/builds/{build_id}/cancel").json() == {"status": "accepted"}
        ended = end_of(platform, build_id)
        assert (ended["status"], ended["error_message"]) == ("STOPPED", "the build was cancelled")
        assert platform.client.post(f"/v2/builds/{build_id}/cancel").json() == {"status": "noop"}
    assert platform.client.post(f"/v2/builds/{uuid.uuid4()}/cancel").json() == {"status": "noop"}
    assert "sleep 3600" not in subprocess.check_output(["ps", "-eo", "args"], text=True)


def test_a_build_that_takes_too_long_is_ended(fresh_platform: Callable[..., PlatformProcess]) -> None:
    ended = deploy(fresh_platform("--build-timeout", "3"), files_of("RUN sleep 3600\n"), new_name())
    assert (ended["status"], ended["error_message"]) == ("TIMED_OUT", "the build did not end within 3 s")


def test_a_log_that_is_too_long_does_not_hold_the_build_up(fresh_platform: Callable[..., PlatformProcess]) -> None:
    """The engine cuts a step's log by itself; what is left of it is longer than one that this platform keeps."""
    platform = fresh_platform("--log-limit", "1")
    loud = "".join(f"RUN seq 100000 | sed s/^/{new_name()}/\n" for _ in range(8))
    ended = deploy(platform, files_of(f"{loud}RUN exit 1\n"), new_name())
    seen = watch(platform, ended["id"])
    assert ended["status"] == "FAILED"
    assert (platform.data / "builds" / ended["id"] / "log.jsonl").stat().st_size < 1.5 * 2**20
    assert "bytes of the log were left out here" in seen.text
    assert "[10/10] RUN exit 1" in seen.text


def test_a_rollback_is_a_new_version_with_the_earlier_image(platform: PlatformProcess, wheel: Path) -> None:
    name = new_name()
    first = deploy(platform, served(wheel), name)
    deploy(platform, served(wheel, steps="RUN echo changed"), name)
    address = f"/v2/registry/{first['registry_id']}"
    made = platform.client.post(f"{address}/rollback", json={"version": 1}).json()
    assert (made["version"], made["rolled_back_to"], made["digest"]) == (3, 1, first["digest"])
    assert made["current"] is True
    listed = platform.client.get(f"{address}/versions").json()["items"]
    assert [(row["version"], row["current"], row["tasks"]) for row in listed] == [
        (3, True, ["add"]),
        (2, False, ["add"]),
        (1, False, ["add"]),
    ]
    assert platform.client.get(address).json()["latest_build"]["version"] == 3
    missing = platform.client.post(f"{address}/rollback", json={"version": 9})
    assert (missing.status_code, missing.json()["detail"]) == (404, f"the environment '{name}' has no version 9")


def test_a_rollback_to_an_image_that_is_gone_is_refused(platform: PlatformProcess, wheel: Path) -> None:
    name = new_name()
    first = deploy(platform, served(wheel), name)
    docker("rmi", first["uri"])
    refused = platform.client.post(f"/v2/registry/{first['registry_id']}/rollback", json={"version": 1})
    assert refused.status_code == 404
    assert f"the image of version 1 of '{name}' is no longer on the platform's engine" in refused.json()["detail"]


def test_pa_15_a_log_is_there_after_a_restart(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    ended = deploy(platform, files_of("RUN echo before && exit 1\n"), new_name())
    before = watch(platform, ended["id"])
    platform.stop()
    platform.start()
    assert watch(platform, ended["id"]) == before


def test_watchers_that_come_and_go_hold_nothing_up(platform: PlatformProcess) -> None:
    build_id = upload(platform, files_of("RUN for n in 1 2 3 4 5 6; do echo begun $n; sleep 0.3; done; exit 1\n"))
    trigger(platform, build_id, new_name()).raise_for_status()
    for _ in range(5):
        watch(platform, build_id, until="begun")
    assert "begun 6" in watch(platform, build_id).text
