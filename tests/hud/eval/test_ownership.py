"""Whose containers are listed as left behind: a killed process's and kept ones, never a living owner's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from hud.eval.runtimes import docker_engine
from hud.eval.runtimes.ownership import KEPT_LABEL, Leftover, is_alive, labels, list_leftovers, owner_label, remove
from tests import bench
from tests.hud.eval.docker_image import own_containers


def dead_owner(**changed: str) -> str:
    """The label of a process of this machine that has ended, with parts of it changed."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        pass
    names = ("machine", "boot", "pid_namespace", "pid", "started")
    parts = dict(zip(names, owner_label().split("/"), strict=True))
    return "/".join({**parts, "pid": str(process.pid), **changed}.values())


def test_this_process_lives() -> None:
    assert is_alive(owner_label())


def test_a_process_that_ended_does_not() -> None:
    assert not is_alive(dead_owner())


def test_a_process_id_that_was_used_again_is_another_owner() -> None:
    assert not is_alive(dead_owner(pid=str(os.getpid()), started="12345"))


def test_what_was_made_before_this_boot_has_no_owner() -> None:
    long_ago_s = time.time() - 10 * 365 * 24 * 3600
    assert not is_alive(dead_owner(boot="another"), created_at_s=long_ago_s)


@pytest.mark.parametrize(
    "owner",
    [
        "",
        "somebody",
        "a/b/c/d/e",
        dead_owner(machine="elsewhere"),
        dead_owner(pid_namespace="1"),
        dead_owner(boot="another"),
    ],
    ids=[
        "empty",
        "a word",
        "no process id",
        "another machine",
        "another process namespace",
        "another boot, made lately",
    ],
)
def test_an_owner_that_cannot_be_judged_from_here_counts_as_living(owner: str) -> None:
    assert is_alive(owner, created_at_s=time.time())


def test_only_what_a_command_keeps_is_marked_kept() -> None:
    assert KEPT_LABEL not in labels()
    assert labels(kept=True)[KEPT_LABEL] == "1"


SCRIPT = """
import asyncio, sys
from hud import DockerRuntime
from hud.eval.runtimes.ownership import owner_label
from hud.eval.task import Task

async def agent(run):
    print("working", flush=True)
    await asyncio.sleep(3600)

print(owner_label(), flush=True)
asyncio.run(Task("contained", "add").run(agent, runtime=DockerRuntime(sys.argv[1]), group=3))
"""


@pytest.fixture
def working_process(served_image: str) -> Iterator[subprocess.Popen[str]]:
    """A process with three containers at work; what it leaves is removed."""
    command = [sys.executable, "-c", SCRIPT, served_image]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=bench.ROOT) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert [process.stdout.readline() for _ in range(3)] == ["working\n"] * 3
        yield process
        process.kill()
    for name in own_containers(owner):
        docker_engine.remove(name)


def listed(names: list[str]) -> list[Leftover]:
    return [leftover for leftover in list_leftovers() if leftover.name in names]


@pytest.mark.docker
def test_what_a_killed_process_leaves_is_listed_and_removed(working_process: subprocess.Popen[str]) -> None:
    names = [
        container.name for container in docker_engine.list_labelled("hud.owner") if is_of(container, working_process)
    ]
    assert len(names) == 3
    assert listed(names) == []  # its owner lives

    os.kill(working_process.pid, signal.SIGKILL)
    working_process.wait()

    found = listed(names)
    assert sorted(leftover.name for leftover in found) == sorted(names)
    assert {(leftover.kind, leftover.state, leftover.kept) for leftover in found} == {("container", "running", False)}
    assert all(0 <= leftover.age_s < 120 for leftover in found)

    assert [removal.error for removal in remove(found)] == [None] * 3
    assert listed(names) == []
    assert [removal.error for removal in remove(found)] == [None] * 3  # gone counts as removed


def is_of(container: docker_engine.LabelledContainer, process: subprocess.Popen[str]) -> bool:
    return container.labels["hud.owner"].split("/")[3] == str(process.pid)


@pytest.mark.docker
def test_a_kept_container_is_listed_as_such_while_its_owner_lives(served_image: str) -> None:
    name = docker_engine.run_detached(served_image)
    try:
        (found,) = listed([name])
        assert found.kept
        assert served_image in found.detail
    finally:
        docker_engine.remove(name)
