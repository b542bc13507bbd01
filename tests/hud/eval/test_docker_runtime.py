"""DockerRuntime against a real engine: placement, limits, failures, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud import DockerRuntime, Run, RuntimeConfig, RuntimeLimits, RuntimeResources, Taskset
from hud.client.blocking import Connection
from hud.errors import (
    DeadlineError,
    HudError,
    NotAuthorisedError,
    NotFoundError,
    RuntimeStartError,
    UnreachableError,
    UsageError,
)
from hud.eval.config import ComposeProject, RuntimeGPU, RuntimeTPU
from hud.eval.runtimes import docker_engine, docker_life
from tests import bench
from tests.hud.eval.docker_image import own_containers, row

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("no_leftovers"), pytest.mark.timeout(180)]


async def sum_up(run: Run) -> str:
    return str(sum(run.task.args.values()))


async def do_nothing(run: Run) -> None:
    return None


async def test_each_rollout_has_a_fresh_container_and_leaves_none(served_image: str) -> None:
    seen: list[str] = []

    async def agent(run: Run) -> str:
        seen.extend(own_containers())
        return await sum_up(run)

    tasks = Taskset("sums", [row("add", a=1, b=2), row("add", a=3, b=4)])
    job = await tasks.run(agent, runtime=DockerRuntime(served_image), group=2, max_concurrent=1)

    assert [run.reward for run in job.runs] == [1.0] * 4
    assert not job.errors
    assert len(set(seen)) == 4
    assert own_containers() == []


async def test_rollouts_at_once_do_not_meet(served_image: str) -> None:
    tasks = Taskset("sums", [row("add", a=a, b=1) for a in range(6)])
    job = await tasks.run(sum_up, runtime=DockerRuntime(served_image), max_concurrent=6)
    assert [run.reward for run in job.runs] == [1.0] * 6


async def test_a_container_is_guarded(served_image: str) -> None:
    async with DockerRuntime(served_image)(row("add")):
        limits = docker_engine.engine().inspect_container(own_containers()[0])["HostConfig"]
        assert "no-new-privileges" in limits["SecurityOpt"]
        assert limits["Init"] is True
        assert limits["PidsLimit"] > 0


def published() -> list[str]:
    """The addresses on which the one container of this process publishes its port."""
    (name,) = own_containers()
    ports = docker_engine.engine().inspect_container(name)["NetworkSettings"]["Ports"]
    return [bound["HostIp"] for bound in ports.get("8765/tcp") or ()]


async def test_the_port_is_published_on_loopback_alone_unless_it_need_not_be(
    served_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_life, "_reached_directly", {})  # as in a new process
    async with DockerRuntime(served_image)(row("add")) as placed:
        assert published() == ["127.0.0.1"]
        assert placed.url.startswith("tcp://127.0.0.1:")
    directly = docker_life.reached_directly()
    async with DockerRuntime(served_image)(row("add")) as placed:
        assert published() == ([] if directly else ["127.0.0.1"])
        Connection.open(placed.url, timeout_s=5, token=placed.params["token"]).close()


async def test_an_address_that_takes_any_token_is_not_known_to_be_the_containers_own(
    variant: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_life, "_reached_directly", {})
    server = "python3 -m hud.environment.server /app/env.py --host 0.0.0.0 --port 8765"
    runtime = DockerRuntime(variant("sh", "-c", f"unset HUD_CHANNEL_TOKEN; exec {server}"))
    for _ in range(2):
        async with runtime(row("add")):
            assert published() == ["127.0.0.1"]
    assert not docker_life.reached_directly()


async def test_the_channel_asks_for_the_token_of_its_container(served_image: str) -> None:
    async with DockerRuntime(served_image)(row("add")) as placed:
        with pytest.raises(NotAuthorisedError):
            Connection.open(placed.url, timeout_s=5)
        Connection.open(placed.url, timeout_s=5, token=placed.params["token"]).close()


async def test_resources_of_the_row_reach_the_container(served_image: str) -> None:
    runtime = DockerRuntime(runtime_config=RuntimeConfig(resources=RuntimeResources(cpu=1, memory_mb=4096)))
    task = row("add")
    task.runtime_config = RuntimeConfig(
        image=served_image, resources=RuntimeResources(cpu=0.5, storage_mb=1, os="linux")
    )
    async with runtime(task) as placed:
        limits = docker_engine.engine().inspect_container(own_containers()[0])["HostConfig"]
        assert (limits["NanoCpus"], limits["Memory"]) == (500_000_000, 4096 * 1024 * 1024)
        assert placed.config is not None
        assert placed.config.image == served_image


@pytest.mark.parametrize("run_args", [(), ("--hostname", "somewhere")], ids=["by the API", "by the command"])
async def test_environment_variables_arrive_whole(served_image: str, run_args: tuple[str, ...]) -> None:
    env_vars = {
        "PLAIN": "a b",
        "LINES": "one\ntwo",
        "OTHER": "ä=ö",
        "EMPTY": "",
        "LONG": "x" * 40_000,
        "PATH2": "$HOME",
    }
    runtime = DockerRuntime(served_image, env_vars=env_vars, run_args=run_args)
    command = "python3 -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    job = await row("shell", command=command).run(do_nothing, runtime=runtime)
    seen = json.loads(job.runs[0].prompt_text)
    assert {name: seen.get(name) for name in env_vars} == env_vars


async def test_any_flag_of_docker_run_may_be_given(served_image: str, tmp_path: Path) -> None:
    (tmp_path / "given.txt").write_text("from the host")
    runtime = DockerRuntime(
        served_image,
        run_args=["--hostname=somewhere", "--volume", f"{tmp_path}:/given:ro", "--ulimit", "nofile=777:777"],
        runtime_config=RuntimeConfig(resources=RuntimeResources(cpu=0.5, memory_mb=512)),
    )
    job = await row("shell", command="hostname; cat /given/given.txt; ulimit -n").run(do_nothing, runtime=runtime)
    assert job.runs[0].prompt_text == "somewhere\nfrom the host777\n"
    assert job.reward == 1.0


async def test_a_network_without_a_way_out_is_still_reached(served_image: str) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("a container's own address is reached from a Linux host alone")
    network = docker_engine.container_name()
    docker_engine.engine().create_network(network, internal=True)
    try:
        runtime = DockerRuntime(served_image, run_args=["--network", network])
        job = await row("add", a=1, b=1).run(sum_up, runtime=runtime)
        assert job.reward == 1.0
    finally:
        docker_engine.engine().remove_network(network)


async def test_anonymous_volumes_go_with_their_container(served_image: str) -> None:
    before = {volume["Name"] for volume in docker_engine.engine().volumes()["Volumes"] or ()}
    job = await row("add", a=1, b=1).run(sum_up, runtime=DockerRuntime(served_image, run_args=["-v", "/data"]))
    assert job.reward == 1.0
    assert {volume["Name"] for volume in docker_engine.engine().volumes()["Volumes"] or ()} <= before


async def test_a_run_within_an_opened_runtime_does_not_wait_for_its_removal(served_image: str) -> None:
    async with DockerRuntime(served_image) as runtime:
        async with runtime(row("add")):
            (name,) = own_containers()
            begun = time.perf_counter()
        left_s = time.perf_counter() - begun
        begun = time.perf_counter()
    drained_s = time.perf_counter() - begun
    assert left_s < 0.02 < drained_s
    with pytest.raises(NotFoundError):
        docker_engine.state(name)


# What goes wrong


async def failure(runtime: DockerRuntime, template: str = "add", **args: object) -> HudError:
    job = await row(template, **args).run(do_nothing, runtime=runtime)
    (run,) = job.runs
    assert not run.is_graded
    assert isinstance(run.error, HudError)
    return run.error


async def test_a_missing_image_is_named_with_the_command_that_builds_it(served_image: str) -> None:
    error = await failure(DockerRuntime("no-such-env"))
    assert isinstance(error, NotFoundError)
    assert error.message == "no image named 'no-such-env' on this engine"
    assert error.hint is not None
    assert error.hint.startswith("docker build -f Dockerfile.hud -t no-such-env .")


async def test_a_missing_image_is_named_with_run_args_too(served_image: str) -> None:
    error = await failure(DockerRuntime("no-such-env", run_args=["--hostname", "x"]))
    assert error.message == "no image named 'no-such-env' on this engine"


async def test_a_container_that_ends_at_once_shows_its_last_lines(variant: Callable[..., str]) -> None:
    image = variant("sh", "-c", "echo first >&2; echo it is broken >&2; exit 7")
    begun = time.perf_counter()
    error = await failure(DockerRuntime(image))
    assert isinstance(error, RuntimeStartError)
    assert error.message == (
        f"the container of image {image!r} exited with code 7 before its control channel answered; its last lines:\n"
        "  first\n  it is broken"
    )
    assert time.perf_counter() - begun < 10


async def test_a_container_that_ends_while_it_is_waited_for_is_noticed_at_once(variant: Callable[..., str]) -> None:
    image = variant("sh", "-c", "sleep 1; echo gave up; exit 3")
    begun = time.perf_counter()
    error = await failure(DockerRuntime(image))
    assert time.perf_counter() - begun < 10
    assert "exited with code 3" in error.message
    assert error.message.endswith("its last lines:\n  gave up")


async def test_an_image_without_hud_says_so(variant: Callable[..., str]) -> None:
    error = await failure(DockerRuntime(variant("sh", "-c", "exec no-such-hud serve")))
    assert "no-such-hud: not found" in error.message
    image = variant("no-such-hud", "serve")
    error = await failure(DockerRuntime(image))
    assert isinstance(error, RuntimeStartError)
    assert error.message.startswith(f"image {image!r} cannot run its command: no-such-hud: No such file")
    assert error.hint is not None
    assert "install hud in the image" in error.hint


async def test_an_image_whose_command_does_nothing_says_so(variant: Callable[..., str]) -> None:
    error = await failure(DockerRuntime(variant("true")))
    assert error.message.endswith("it printed nothing, and its command is 'true'")


async def test_a_port_that_is_never_ready_ends_by_the_named_timeout(variant: Callable[..., str]) -> None:
    image = variant("sh", "-c", "echo thinking; exec sleep 600")
    runtime = DockerRuntime(image, runtime_config=RuntimeConfig(limits=RuntimeLimits(startup_timeout_s=0.7)))
    error = await failure(runtime)
    assert isinstance(error, DeadlineError)
    assert "did not answer on port 8765 within its startup_timeout_s of 0.7 s" in error.message
    assert error.message.endswith("its last lines:\n  thinking")


async def test_a_port_where_something_else_answers_is_no_control_channel(variant: Callable[..., str]) -> None:
    image = variant("python3", "-m", "http.server", "8765")
    error = await failure(DockerRuntime(image))
    assert isinstance(error, RuntimeStartError)
    assert "is no control channel" in error.message


async def test_another_port_may_be_served(variant: Callable[..., str]) -> None:
    command = ("python3", "-m", "hud.environment.server", "/app/env.py", "--host", "0.0.0.0", "--port", "9000")
    job = await row("add", a=1, b=1).run(sum_up, runtime=DockerRuntime(variant(*command), port=9000))
    assert job.reward == 1.0


async def test_a_run_timeout_ends_the_container_and_is_named(served_image: str) -> None:
    runtime = DockerRuntime(served_image, runtime_config=RuntimeConfig(limits=RuntimeLimits(run_timeout_s=1.5)))
    error = await failure(runtime, "shell", command="sleep 60")
    assert isinstance(error, DeadlineError)
    assert error.message == f"the container of image {served_image!r} was ended by its run_timeout_s of 1.5 s"


async def test_a_container_that_ends_in_use_says_how(served_image: str) -> None:
    error = await failure(DockerRuntime(served_image), "leave", code=5)
    assert isinstance(error, RuntimeStartError)
    assert "ended with code 5 while in use" in error.message
    assert error.message.endswith("the server says goodbye")


async def test_a_container_out_of_memory_says_so(served_image: str) -> None:
    config = RuntimeConfig(resources=RuntimeResources(memory_mb=64))
    error = await failure(DockerRuntime(served_image, runtime_config=config), "hog")
    assert "ended for want of memory while in use" in error.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RuntimeConfig(resources=RuntimeResources(cpu=10_000)), "the Docker engine cannot give resources.cpu of 10000"),
        (
            RuntimeConfig(resources=RuntimeResources(memory_mb=10**9)),
            "the Docker engine cannot give resources.memory_mb of 1000000000",
        ),
        (RuntimeConfig(resources=RuntimeResources(memory_mb=1)), "the Docker engine cannot give what was asked for"),
        (RuntimeConfig(resources=RuntimeResources(storage_mb=10**9)), "MB of free disk, but resources.storage_mb asks"),
        (
            RuntimeConfig(resources=RuntimeResources(os="windows")),
            "DockerRuntime cannot honour runtime_config.resources.os",
        ),
        (
            RuntimeConfig(resources=RuntimeResources(tpu=RuntimeTPU(type="v5e", topology="2x2"))),
            "DockerRuntime cannot honour runtime_config.resources.tpu",
        ),
        (
            RuntimeConfig(resources=RuntimeResources(gpu=RuntimeGPU(type="Imaginary 9000"))),
            "DockerRuntime cannot honour runtime_config.resources.gpu: 1 of Imaginary 9000 asked for",
        ),
    ],
    ids=["cpu", "memory", "little memory", "storage", "os", "tpu", "gpu type"],
)
@pytest.mark.parametrize("run_args", [(), ("--hostname", "x")], ids=["by the API", "by the command"])
async def test_what_cannot_be_honoured_is_refused(
    served_image: str, config: RuntimeConfig, message: str, run_args: tuple[str, ...]
) -> None:
    error = await failure(DockerRuntime(served_image, runtime_config=config, run_args=run_args))
    assert message in error.message


async def test_a_compose_row_is_refused(served_image: str) -> None:
    task = row("add")
    task.runtime_config = RuntimeConfig(compose=ComposeProject(document="compose.yaml"))
    job = await task.run(do_nothing, runtime=DockerRuntime(served_image))
    assert "DockerRuntime cannot honour runtime_config.compose" in str(job.runs[0].error)


async def test_a_row_without_an_image_anywhere_is_refused(served_image: str) -> None:
    error = await failure(DockerRuntime())
    assert isinstance(error, UsageError)
    assert error.message == "no image to run task 'add' in"


async def test_a_flag_that_docker_run_does_not_know_is_refused(served_image: str) -> None:
    error = await failure(DockerRuntime(served_image, run_args=["--no-such-flag"]))
    assert isinstance(error, UsageError)
    assert "unknown flag: --no-such-flag" in error.message


# Nothing is left behind


async def stopped_after(delay_s: float, runtime: DockerRuntime) -> None:
    working = asyncio.create_task(row("add", a=1, b=1).run(wait_forever, runtime=runtime))
    await asyncio.sleep(delay_s)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def wait_forever(run: Run) -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("run_args", [(), ("--hostname", "x")], ids=["by the API", "by the command"])
@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.5])
async def test_cancelled_at_any_stage_no_container_is_left(
    served_image: str, delay_s: float, run_args: tuple[str, ...]
) -> None:
    await stopped_after(delay_s, DockerRuntime(served_image, run_args=run_args))
    assert own_containers() == []


async def test_a_rollout_timeout_leaves_no_container(served_image: str) -> None:
    job = await row("add").run(wait_forever, runtime=DockerRuntime(served_image), rollout_timeout=1.0)
    assert isinstance(job.runs[0].error, DeadlineError)
    assert own_containers() == []


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
def job_process(served_image: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs three rollouts whose agents never end; its first line is its owner label."""
    command = [sys.executable, "-c", SCRIPT, served_image]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=bench.ROOT) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [None, 0.0, 0.05, 0.15, 0.4], ids=lambda delay: f"{delay}")
def test_a_signal_leaves_no_container(
    job_process: subprocess.Popen[str], signum: signal.Signals, delay_s: float | None
) -> None:
    assert job_process.stdout is not None
    owner = job_process.stdout.readline().strip()
    if delay_s is None:
        assert [job_process.stdout.readline() for _ in range(3)] == ["working\n"] * 3
        assert len(own_containers(owner)) == 3
    else:
        time.sleep(0.3 + delay_s)  # the handlers are in place once the engine's client has been imported
    os.kill(job_process.pid, signum)
    assert job_process.wait(timeout=60) != 0
    assert own_containers(owner) == []


async def test_an_engine_that_is_down_is_unreachable(
    served_image: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        error = await failure(DockerRuntime(served_image))
    assert isinstance(error, UnreachableError)
    assert error.message == f"no Docker engine answers at unix://{tmp_path}/none.sock (DOCKER_HOST)"
    assert error.hint is not None


@pytest.mark.parametrize("url", ["tcp://192.0.2.1:2375", "ssh://somebody@192.0.2.1"])
async def test_an_engine_on_another_machine_is_refused(
    served_image: str, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("DOCKER_HOST", url)
        error = await failure(DockerRuntime(served_image))
    assert f"cannot reach containers on the engine at {url} (DOCKER_HOST)" in error.message
