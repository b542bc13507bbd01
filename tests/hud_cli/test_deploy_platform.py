"""`hud deploy` against our own platform and a Docker engine: from a folder to an environment that answers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.bench import base_image, require_docker
from tests.hud.context.folders import write
from tests.hud_cli.conftest import Done, Hud, read_until
from tests.hud_platform.deploying import FROM_BASE, new_name
from tests.platform_process import PlatformProcess

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]

SECRET, VALUE = "s3cret/of+the=build", "v4lue-of-a-variable"

Deploy = Callable[..., Done]
Source = Callable[..., Path]


@pytest.fixture(autouse=True)
def _engine() -> None:
    require_docker()


@pytest.fixture
def make(make_environment_folder: Source) -> Source:
    return make_environment_folder


@pytest.fixture
def deploy(hud: Hud, platform: PlatformProcess) -> Deploy:
    """Run `hud deploy` against the platform that tests share."""

    def run(folder: Path, *words: str, **variables: str) -> Done:
        base = ("--build-arg", f"BASE_IMAGE={base_image()}")
        return hud("deploy", *base, *words, cwd=folder, timeout_s=150, **{**platform.settings, **variables})

    return run


def status(platform: PlatformProcess, build: str) -> dict[str, Any]:
    found: dict[str, Any] = platform.client.get(f"/v2/builds/{build}/status").raise_for_status().json()
    return found


def build_of(words: str) -> str:
    match = re.search(r"build ([0-9a-f-]{36}) of", words)
    assert match is not None, words
    return match[1]


def test_an_environment_is_built_asked_for_its_tasks_and_registered(
    deploy: Deploy, platform: PlatformProcess, make: Source
) -> None:
    folder = make()
    done = deploy(folder)
    assert done.code == 0, done.err
    shown = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert shown["environment"] == f"{folder.name}, version 1"
    assert shown["digest"].startswith("sha256:")
    assert shown["tasks"] == "add"
    assert "address" not in shown  # this platform has no page of an environment
    assert "Connected to build logs\nPreparing the context\n" in done.err
    assert done.err.count("\n[2/") == 1
    assert done.err.endswith("Build succeeded\n")


def test_the_second_time_nothing_travels_and_a_change_alone_does(deploy: Deploy, make: Source) -> None:
    folder = make()
    first = json.loads(deploy(folder, "--json").out)
    second = json.loads(deploy(folder, "--json").out)
    assert (first["version"], second["version"]) == (1, 2)
    assert first["context"]["sent_bytes"] > 0
    assert second["context"]["sent_bytes"] == 0
    assert first["digest"] == second["digest"]
    write(folder, {"note.txt": "changed"})
    third = json.loads(deploy(folder, "--json").out)
    assert 7 < third["context"]["sent_bytes"] < 2000


def test_pa_12_secrets_and_variables_reach_the_build_and_nothing_else(
    deploy: Deploy, platform: PlatformProcess, make: Source
) -> None:
    prints = "echo flag $FLAG && cat /run/secrets/token && cat /run/secrets/token >&2"
    steps = f"ARG FLAG\nRUN --mount=type=secret,id=token {prints}"
    folder = make(steps=steps)
    words = ("--secret", "id=token,env=TOKEN", "--env", f"KEY={VALUE}", "--build-arg", "FLAG=red", "--json")
    done = deploy(folder, *words, TOKEN=SECRET)
    assert done.code == 0, done.err
    assert "  flag red\n" in done.err
    assert "***" in done.err
    log = (platform.data / "builds" / json.loads(done.out)["build_id"] / "log.jsonl").read_text()
    for value in (SECRET, VALUE):
        assert value not in done.out + done.err + log
    uri = json.loads(done.out)["uri"]
    history = subprocess.check_output([require_docker(), "history", "--no-trunc", uri], text=True)
    assert SECRET not in history


def test_a_step_that_fails_exits_with_1_and_its_last_words(
    deploy: Deploy, platform: PlatformProcess, make: Source
) -> None:
    folder = make(steps="RUN echo the reason is here; exit 3")
    done = deploy(folder)
    build = build_of(done.err)
    assert (done.code, done.out) == (1, "")
    assert f"Error: {folder.name} is not deployed: " in done.err
    assert "the reason is here" in done.err.partition("Error: ")[0]
    assert done.err.endswith(f"Hint: hud build logs {build}\n")
    assert status(platform, build)["status"] == "FAILED"


def test_an_image_that_does_not_answer_is_not_registered(
    deploy: Deploy, platform: PlatformProcess, make: Source
) -> None:
    folder = make()
    write(folder, {"Dockerfile.hud": FROM_BASE + 'CMD ["sh", "-c", "echo went wrong >&2; exit 7"]\n'})
    done = deploy(folder, "--json")
    document = json.loads(done.out)
    assert (done.code, document["error"]) == (1, "failure")
    assert "went wrong" in document["message"] + done.err
    page = platform.client.get("/v2/registry", params={"search": folder.name}).json()
    assert all("latest_build" not in row or row["latest_build"] is None for row in page["items"])


def test_two_deploys_of_one_name_at_once_make_two_versions(deploy: Deploy, make: Source) -> None:
    folder = make()
    done: list[Done] = []
    threads = [threading.Thread(target=lambda: done.append(deploy(folder, "--json"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.code for one in done] == [0, 0]
    assert sorted(json.loads(one.out)["version"] for one in done) == [1, 2]


# Interruptions

SLOW = "RUN for n in $(seq 1 600); do echo begun $n; sleep 0.2; done"


def on_terminal(folder: Path, variables: dict[str, str], platform: PlatformProcess) -> Any:
    return pexpect.spawn(
        sys.executable,
        ["-m", "hud_cli", "deploy", "--verbose", "--no-cache", "--build-arg", f"BASE_IMAGE={base_image()}"],
        cwd=str(folder),
        env={**variables, **platform.settings, "TERM": "xterm"},
        timeout=60,
        dimensions=(30, 200),
        encoding="utf-8",
    )


@pytest.mark.parametrize(("answer", "word"), [("y", "STOPPED"), ("n", "IN_PROGRESS"), ("\x03", "IN_PROGRESS")])
def test_ctrl_c_offers_to_cancel_the_build(
    platform: PlatformProcess, make: Source, variables: dict[str, str], hud: Hud, answer: str, word: str
) -> None:
    terminal = on_terminal(make(steps=SLOW), variables, platform)
    terminal.expect(r"build ([0-9a-f-]{36}) of")
    build = terminal.match[1]
    terminal.expect_exact("begun 2")
    terminal.sendintr()
    terminal.expect_exact("Cancel the build? [y/N] ")
    terminal.send(answer if answer == "\x03" else f"{answer}\n")
    terminal.expect_exact("The build is cancelled." if answer == "y" else f"To watch it: hud build logs {build}")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    if answer == "y":
        assert hud("build", "logs", build, **platform.settings).code == 1
    assert status(platform, build)["status"] == word
    hud("build", "cancel", build, **platform.settings)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_job_that_is_ended_in_ci_cancels_its_build(
    platform: PlatformProcess, make: Source, variables: dict[str, str], hud: Hud, number: int, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hud_cli", "deploy", "--no-cache", "--build-arg", f"BASE_IMAGE={base_image()}"],
        cwd=make(steps=SLOW),
        env={**variables, **platform.settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    seen = read_until(process.stderr.fileno(), b"begun 1", timeout_s=60)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"The build is cancelled.\n" in err
    assert "STOPPED" in hud("build", "logs", build_of(seen.decode()), **platform.settings).err


@pytest.mark.slow
def test_ctrl_c_during_the_upload_does_not_wait_for_a_platform_that_hangs(
    fresh_platform: Callable[..., PlatformProcess], make: Source, variables: dict[str, str]
) -> None:
    process, folder = fresh_platform(), make()
    (folder / "big").write_bytes(os.urandom(256 * 2**20))
    before = sum(path.is_file() for path in (process.data / "blobs").rglob("*"))
    terminal = on_terminal(folder, variables, process)
    while sum(path.is_file() for path in (process.data / "blobs").rglob("*")) < before + 4:
        assert terminal.isalive(), terminal.read()
    process.process.send_signal(signal.SIGSTOP)
    try:
        terminal.sendintr()
        terminal.expect_exact("Interrupted.")
        terminal.expect(pexpect.EOF)
        terminal.close()
    finally:
        process.process.send_signal(signal.SIGCONT)
    assert terminal.exitstatus == 130
    assert process.client.get("/v2/builds").json()["total"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_platform_that_restarts_during_the_build_loses_no_line(
    fresh_platform: Callable[..., PlatformProcess], hud: Hud, make: Source, number: int
) -> None:
    process = fresh_platform()
    process.words = ("--port", process.url.rpartition(":")[2])
    folder = make(steps=f"RUN for n in 1 2 3 4 5; do echo begun $n {new_name()}; sleep 0.5; done")
    ended: list[Done] = []
    words = ("deploy", "--build-arg", f"BASE_IMAGE={base_image()}", "--json")
    watcher = threading.Thread(
        target=lambda: ended.append(hud(*words, cwd=folder, timeout_s=150, **process.settings)),
    )
    watcher.start()
    logs = process.data / "builds"
    while not any("begun 2" in path.read_text() for path in logs.glob("*/log.jsonl")):
        watcher.join(0.1)
        assert watcher.is_alive(), ended
    process.stop(number)
    process.start()
    watcher.join()
    (done,) = ended
    assert done.code == 0, done.err
    log = logs / json.loads(done.out)["build_id"] / "log.jsonl"
    frames = [json.loads(line) for line in log.read_text().splitlines()]
    printed = [line for frame in frames if frame["type"] == "log" for line in frame["message"].split("\n")]
    begun = [line for line in printed if line.startswith("begun")]
    assert [line.strip() for line in done.err.splitlines() if line.startswith("  begun")] == begun
