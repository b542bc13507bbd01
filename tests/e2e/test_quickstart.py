"""`scripts/quickstart` as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests import bench

QUICKSTART = bench.ROOT / "scripts" / "quickstart"


def rewards(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()[1:]]


def platform_of(said: str) -> str:
    """Give the address of the platform that a quickstart told of."""
    found = re.search(r"ready at (http://\S+)", said)
    assert found is not None, said
    return found[1]


def left_on_engine() -> str:
    client = bench.require_docker()
    filters = (
        ("image", "ls", "--filter", "reference=hud-quickstart"),
        ("image", "ls", "--filter", "reference=hud/quickstart"),
        ("ps", "--all", "--filter", "name=hud-quick"),
    )
    return "".join(subprocess.check_output([client, *words, "--quiet"], text=True) for words in filters)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rewards_come_out_of_containers_and_nothing_is_left(tmp_path: Path) -> None:
    bench.base_image()

    done = subprocess.run([QUICKSTART], env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "docker exec" in done.stdout
    assert "DockerRuntime" in done.stdout
    table = rewards(done.stdout)
    assert len(table) == 10
    assert {(answer, by_command, by_runtime) for _, answer, by_command, by_runtime in table} == {
        ("right", "1.0", "1.0"),
        ("wrong", "0.0", "0.0"),
    }
    for step in (
        "quickstart, version 1, sha256:",
        "5 rows created, revision 1",
        "    up to date\n",
        "hud platform down",
    ):
        assert step in done.stderr
    assert left_on_engine() == ""
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(platform_of(done.stderr))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_an_engine_it_runs_in_processes_and_says_so(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}

    done = subprocess.run([QUICKSTART], env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "no Docker engine: running on SubprocessRuntime instead" in done.stderr
    assert {tuple(row[1:]) for row in rewards(done.stdout)} == {("right", "1.0", "1.0"), ("wrong", "0.0", "0.0")}
    assert "no Docker engine: hud deploy is skipped" in done.stderr
    assert "refused, as it has to be: Error: " in done.stderr
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(platform_of(done.stderr))


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "stage",
    [
        *("docker build", "docker run", "tasks, each with", "the same on DockerRuntime"),
        *("hud platform up", "hud deploy", "hud sync tasks"),
    ],
)
def test_ctrl_c_at_each_stage_leaves_nothing(stage: str, tmp_path: Path) -> None:
    bench.base_image()
    running = subprocess.Popen(
        [QUICKSTART],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    said = ""
    while stage not in said:
        said = running.stderr.readline()
        assert said, "it ended before that stage"
    time.sleep(0.3)

    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all of its processes

    _, rest = running.communicate(timeout=60)
    assert running.returncode == 130, rest
    assert left_on_engine() == ""
    assert list(tmp_path.iterdir()) == []
