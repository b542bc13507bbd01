"""The engine functions that commands use: a detached container, a command in it, and its removal."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from hud.errors import NotFoundError, RuntimeStartError, UsageError
from hud.eval.runtimes import docker_engine, docker_exec
from tests import bench

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("no_leftovers"), pytest.mark.timeout(180)]


@pytest.fixture
def container(served_image: str) -> Iterator[str]:
    """A running container of the served image."""
    name = docker_engine.run_detached(served_image, kept=False)
    yield name
    docker_engine.remove(name)


@pytest.fixture(params=["by the socket", "by the command"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to run a command: a plain socket's, and the one for engines behind TLS or ssh."""
    if request.param == "by the command":
        monkeypatch.setattr(docker_engine.Endpoint, "is_plain_socket", False)


@pytest.mark.usefixtures("either_way")
def test_output_and_exit_code_come_apart(container: str) -> None:
    done = docker_engine.exec_in(container, ["sh", "-c", "echo out; echo err >&2; exit 5"])
    assert done == docker_engine.ExecResult(5, b"out\n", b"err\n")


@pytest.mark.usefixtures("either_way")
def test_arguments_and_bytes_arrive_as_they_are(container: str) -> None:
    done = docker_engine.exec_in(container, ["printf", "%s|", "a b", "$HOME", "ä'\"\n"])
    assert done.stdout == "a b|$HOME|ä'\"\n|".encode()


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("size_bytes", [0, 1, 5_000_000], ids=["empty", "one byte", "5 MB"])
def test_input_arrives_whole_and_ends(container: str, size_bytes: int) -> None:
    given = os.urandom(size_bytes)
    done = docker_engine.exec_in(container, ["sha256sum"], stdin=given)
    assert done.stdout.split()[0].decode() == hashlib.sha256(given).hexdigest()


@pytest.mark.usefixtures("either_way")
def test_input_and_output_of_many_megabytes_do_not_stop_each_other(container: str) -> None:
    given = os.urandom(20_000_000)
    assert docker_engine.exec_in(container, ["cat"], stdin=given).stdout == given


@pytest.mark.usefixtures("either_way")
def test_a_command_need_not_read_its_input(container: str) -> None:
    assert docker_engine.exec_in(container, ["true"], stdin=b"x" * 5_000_000).exit_code == 0


@pytest.mark.usefixtures("either_way")
def test_without_input_a_command_reads_none(container: str) -> None:
    assert docker_engine.exec_in(container, ["cat"]) == docker_engine.ExecResult(0, b"", b"")


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("command", ["no-such-hud", "/opt/no-such-hud"])
def test_a_command_that_the_image_lacks_is_named(container: str, command: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        docker_engine.exec_in(container, [command, "task", "list"])
    assert raised.value.message == f"container {container!r} has no command {command!r}"
    assert raised.value.hint is not None
    assert "install hud in the image" in raised.value.hint


@pytest.mark.usefixtures("either_way")
def test_a_container_that_is_not_there_is_named(served_image: str) -> None:
    with pytest.raises(NotFoundError, match="no container named 'no-such-container' on this engine"):
        docker_engine.exec_in("no-such-container", ["true"])


@pytest.mark.usefixtures("either_way")
def test_a_container_that_has_ended_says_so(container: str) -> None:
    docker_engine.kill(container)
    with pytest.raises(RuntimeStartError, match="is not running"):
        docker_engine.exec_in(container, ["true"])


def test_the_packaged_commands_find_the_channel_token_by_themselves(container: str) -> None:
    code = "from hud.client.blocking import Connection; import os; Connection.open('tcp://127.0.0.1:8765', timeout_s=20"
    assert docker_engine.exec_in(container, ["python3", "-c", f"{code})"]).exit_code == 1
    command = ["python3", "-c", f"{code}, token=os.environ['HUD_CHANNEL_TOKEN'])"]
    assert docker_engine.exec_in(container, command).exit_code == 0


INTERRUPTED = """
import sys
from hud.eval.runtimes.docker_engine import exec_in
print("ready", flush=True)
exec_in(sys.argv[1], ["sleep", "300"])
"""


def test_an_interrupt_ends_the_command_in_the_container_too(container: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, container]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=bench.ROOT) as process:
        wait_until(lambda: sleeping(container))
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    wait_until(lambda: not sleeping(container))


def sleeping(container: str) -> bool:
    script = 'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; echo; done'
    return b"sleep 300" in docker_engine.exec_in(container, ["sh", "-c", script]).stdout


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_a_detached_container_may_be_named_and_given_flags(served_image: str) -> None:
    name = docker_engine.container_name()
    try:
        assert docker_engine.run_detached(served_image, name=name, run_args=["--hostname", "x"], env={"A": "b"}) == name
        assert docker_engine.exec_in(name, ["sh", "-c", "hostname; echo $A"]).stdout == b"x\nb\n"
    finally:
        docker_engine.remove(name)


def test_a_name_that_is_taken_is_refused_and_its_container_left_alone(container: str, served_image: str) -> None:
    # The first one was made by another process, as far as its label tells.
    other = docker_engine.container_name()
    docker_engine.engine().create_container(served_image, name=other)
    try:
        for run_args in ([], ["--hostname", "x"]):
            with pytest.raises(UsageError, match=f"the name '{other}' is taken by another container"):
                docker_engine.run_detached(served_image, name=other, run_args=run_args)
        assert not docker_engine.state(other).running
    finally:
        docker_engine.remove(other)


def test_a_detached_container_of_a_missing_image_leaves_nothing(served_image: str) -> None:
    with pytest.raises(NotFoundError, match="no image named 'no-such-env' on this engine"):
        docker_engine.run_detached("no-such-env")


STARTING = """
import sys
from hud.eval.runtimes import docker_engine, ownership
docker_engine.engine()
print(ownership.owner_label(), flush=True)
try:
    docker_engine.run_detached(sys.argv[1], run_args=sys.argv[2:])
finally:
    print("over", flush=True)
"""


@pytest.mark.parametrize("run_args", [(), ("--hostname", "x")], ids=["by the API", "by the command"])
@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.06, 0.12])
def test_an_interrupt_while_starting_leaves_no_container(
    served_image: str, delay_s: float, run_args: tuple[str, ...]
) -> None:
    from tests.hud.eval.docker_image import own_containers

    command = [sys.executable, "-c", STARTING, served_image, *run_args]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=bench.ROOT
    ) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        finished = process.wait(timeout=60) == 0
    left = own_containers(owner)
    for name in left:
        docker_engine.remove(name)
    assert left == [] or finished


def test_removing_what_is_not_there_is_no_error(served_image: str) -> None:
    docker_engine.remove("no-such-container")


def test_the_engine_describes_itself(served_image: str) -> None:
    info = docker_engine.engine_info()
    assert info.version
    assert info.cpus >= 1
    assert info.memory_bytes > 0
    assert info.platform.startswith("linux/")
    assert info.endpoint.is_local


def test_the_first_bytes_behind_the_headers_are_not_lost() -> None:
    output: dict[int, bytearray] = {}
    buffer = bytearray(b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err\x01\0\0\0\0\0\0\x05par")
    docker_exec._demultiplex(buffer, output)
    assert output == {1: b"out", 2: b"err"}
    assert buffer == b"\x01\0\0\0\0\0\0\x05par"
