"""`hud cleanup`: what it lists, and that it removes nothing that nobody agreed to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pexpect  # type: ignore[import-untyped]
import pytest

from hud.eval.runtimes import docker_engine
from hud_cli.cleanup import age
from tests import bench
from tests.hud_cli.conftest import Hud


@pytest.fixture
def kept(template_image: Callable[[str], str]) -> Iterator[str]:
    """A container that a command left on purpose."""
    name = docker_engine.run_detached(template_image("blank"), kept=True)
    yield name
    docker_engine.remove(name)


@pytest.mark.docker
@pytest.mark.timeout(600)
def test_a_kept_container_is_listed_and_left_alone(hud: Hud, kept: str) -> None:
    done = hud("cleanup", "--dry-run")
    assert done.code == 0
    (row,) = [line.split() for line in done.out.splitlines() if line.startswith(kept)]
    assert row[1] == "container"
    assert row[3] == "running"
    assert row[-1] == "kept"
    rows = {row["name"]: row for row in json.loads(hud("cleanup", "--dry-run", "--json").out)["leftovers"]}
    assert (rows[kept]["kept"], rows[kept]["removed"]) == (True, False)
    assert docker_engine.state(kept).running


@pytest.mark.docker
@pytest.mark.timeout(600)
def test_without_anybody_to_ask_nothing_is_removed(hud: Hud, kept: str) -> None:
    done = hud("cleanup")
    assert done.code == 2
    assert "needs a confirmation\nHint: hud cleanup --yes\n" in done.err
    assert docker_engine.state(kept).running


@pytest.mark.docker
@pytest.mark.timeout(600)
def test_a_declined_question_removes_nothing(kept: str) -> None:
    terminal = pexpect.spawn(sys.executable, ["-m", "hud_cli", "cleanup"], encoding="utf-8", timeout=30)
    terminal.expect(kept)
    terminal.expect(r"\[y/N\] ")
    terminal.sendline("")
    terminal.expect_exact("Nothing was removed.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert docker_engine.state(kept).running


@pytest.mark.docker
@pytest.mark.timeout(600)
def test_yes_removes_what_is_listed(hud: Hud, kept: str) -> None:
    listed = {row["name"] for row in json.loads(hud("cleanup", "--dry-run", "--json").out)["leftovers"]}
    if listed != {kept}:
        pytest.skip(f"others' containers would go too: {', '.join(sorted(listed - {kept}))}")
    done = hud("cleanup", "--yes")
    assert (done.code, done.err) == (0, "Removed 1 of 1.\n")
    names = subprocess.run(
        [bench.require_docker(), "ps", "-a", "--format", "{{.Names}}"], capture_output=True, text=True
    )
    assert kept not in names.stdout.split()


def test_an_engine_that_is_down_exits_with_3(hud: Hud) -> None:
    done = hud("cleanup", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("Error: no Docker engine answers at unix:///nowhere/docker.sock (DOCKER_HOST)\nHint: ")
    report = json.loads(hud("cleanup", "--json", DOCKER_HOST="unix:///nowhere/docker.sock").out)
    assert report["error"] == "unreachable"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (90000, "1d")])
def test_ages_are_short(seconds: float, text: str) -> None:
    assert age(seconds) == text
