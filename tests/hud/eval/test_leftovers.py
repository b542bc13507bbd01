"""What is left of a job whose process is interrupted, terminated or killed: nothing, on any local runtime.

Source: design, decision 5.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hud.eval.places import left_running, write_source

_LONGEST_S = 12.0

SCRIPT = """
import asyncio, contextlib, signal, sys, threading
from pathlib import Path
from hud import LocalRuntime, Runtime, Shared, SubprocessRuntime, Task, Taskset
from hud.environment.source import load_environment

kind, source, what, folder = sys.argv[1:]

@contextlib.asynccontextmanager
async def function(task):
    async with LocalRuntime(source)(task) as place:
        yield place

RUNTIMES = {
    "live": lambda: LocalRuntime(load_environment(source, name="contract"), width=8),
    "path": lambda: LocalRuntime(source),
    "callable": lambda: LocalRuntime(lambda task: load_environment(source, name=task.env)),
    "subprocess": lambda: SubprocessRuntime(source),
    "shared": lambda: Shared(LocalRuntime(source), width=3),
    "function": lambda: function,
}
started = []

async def agent(run):
    started.append(run)
    if len(started) == 8:
        Path(folder, "ready").touch()
    await asyncio.sleep(3600)

def row(n):
    if what == "agent":
        return Task("contract", "add", {"a": n})
    return Task("contract", "wait", {"phase": what, "mark": f"{folder}/waiting{n}"})

async def idle(run):
    pass

tasks = Taskset("eight", [row(n) for n in range(8)])
try:
    job = asyncio.run(tasks.run(agent if what == "agent" else idle, runtime=RUNTIMES[kind]()))
finally:
    Path(folder, "cleaned").touch()
"""


@pytest.fixture
def job(tmp_path: Path, mark: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that runs eight rollouts at once, and wait until all are where they are to be."""
    processes: list[subprocess.Popen[str]] = []
    source = write_source(tmp_path / "source")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def start(kind: str, what: str = "agent", program: str = SCRIPT) -> subprocess.Popen[str]:
        script.write_text(program)
        command = [sys.executable, str(script), kind, str(source), what, str(tmp_path)]
        with open(tmp_path / "stderr", "w") as stderr:
            process = subprocess.Popen(command, stderr=stderr, text=True, start_new_session=True)
        processes.append(process)
        wait_for(lambda: (tmp_path / "ready").exists() or len(list(tmp_path.glob("waiting*"))) == 8)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], *, within_s: float = 40.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


LOCAL = ["live", "path", "callable", "subprocess", "shared", "function"]


@pytest.mark.parametrize("kind", LOCAL)
@pytest.mark.parametrize(
    ("number", "codes"),
    [(signal.SIGINT, {-signal.SIGINT, 130}), (signal.SIGTERM, {143})],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_ends_eight_rollouts_and_what_they_stand_on(
    job: Callable[..., subprocess.Popen[str]], mark: str, tmp_path: Path, kind: str, number: int, codes: set[int]
) -> None:
    process = job(kind)
    os.kill(process.pid, number)
    assert process.wait(timeout=_LONGEST_S) in codes
    assert (tmp_path / "cleaned").exists()
    assert left_running(mark) == {}


@pytest.mark.parametrize("kind", LOCAL)
def test_a_killed_job_takes_what_it_started_with_it(
    job: Callable[..., subprocess.Popen[str]], mark: str, kind: str
) -> None:
    process = job(kind)
    process.kill()
    process.wait()
    assert left_running(mark, within_s=_LONGEST_S) == {}


@pytest.mark.parametrize("kind", ["path", "subprocess"])
@pytest.mark.parametrize("phase", ["start", "grade"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_same_in_the_middle_of_a_call(
    job: Callable[..., subprocess.Popen[str]], mark: str, kind: str, phase: str, number: int
) -> None:
    process = job(kind, phase)
    os.kill(process.pid, number)
    process.wait(timeout=_LONGEST_S)
    assert left_running(mark, within_s=_LONGEST_S) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["path", "subprocess"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_environments_that_never_listen_go_too_with_all_they_started(
    job: Callable[..., subprocess.Popen[str]], mark: str, tmp_path: Path, kind: str, number: int
) -> None:
    source = tmp_path / "source" / "env.py"
    source.write_text(
        source.read_text().replace(
            "        await asyncio.sleep(3600)\n\n    if phase",
            "        os.system('sleep 3600 &')\n        while True:\n            time.sleep(3600)\n\n    if phase",
        )
    )
    assert "while True" in source.read_text()
    process = job(kind, "start")
    os.kill(process.pid, number)
    process.wait(timeout=30)
    assert left_running(mark, within_s=_LONGEST_S + 2) == {}


def test_what_a_killed_job_leaves_started_on_import_goes_too(
    job: Callable[..., subprocess.Popen[str]], mark: str, tmp_path: Path
) -> None:
    for kind in ("path", "subprocess"):
        source = tmp_path / "source" / "env.py"
        source.write_text(source.read_text() + "\nos.system('sleep 3600 &')\n")
        process = job(kind)
        (tmp_path / "ready").unlink()
        process.kill()
        process.wait()
        assert left_running(mark, within_s=_LONGEST_S) == {}


# How SIGTERM ends a program


async def test_sigterm_ends_every_job_of_a_program_whichever_came_first(
    job: Callable[..., subprocess.Popen[str]], mark: str
) -> None:
    program = SCRIPT.replace(
        'job = asyncio.run(tasks.run(agent if what == "agent" else idle, runtime=RUNTIMES[kind]()))',
        """
    async def main():
        first = asyncio.create_task(Task("contract", "add").run(idle, runtime=RUNTIMES[kind]()))
        await asyncio.sleep(0)
        second = asyncio.create_task(tasks.run(agent, runtime=RUNTIMES[kind]()))
        await asyncio.gather(first, second)
    asyncio.run(main())
""",
    )
    assert program != SCRIPT
    process = await asyncio.to_thread(job, "path", "agent", program)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=_LONGEST_S) == 143
    assert left_running(mark) == {}


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        ("lambda *_: sys.exit(9)", 9),
        ("lambda *_: signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    ],
    ids=["exits", "interrupts"],
)
def test_a_program_keeps_its_own_handler_and_nothing_is_left(
    job: Callable[..., subprocess.Popen[str]], mark: str, handler: str, code: int
) -> None:
    process = job("path", "agent", SCRIPT.replace("started = []", f"started = []\nsignal.signal(15, {handler})"))
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=_LONGEST_S) == code
    assert left_running(mark, within_s=_LONGEST_S) == {}


def test_the_default_handler_is_back_after_a_job(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, signal\n"
        "from hud import Environment, Task\n"
        "env = Environment('e')\n"
        "@env.template()\n"
        "async def say():\n"
        "    yield 'p'\n"
        "    yield 1.0\n"
        "async def agent(run):\n"
        "    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "asyncio.run(say().run(agent))\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_job_in_another_thread_runs_without_a_handler(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, threading\n"
        "from hud import Environment, Task\n"
        "env = Environment('e')\n"
        "@env.template()\n"
        "async def say():\n"
        "    yield 'p'\n"
        "    yield 1.0\n"
        "async def agent(run):\n"
        "    pass\n"
        "thread = threading.Thread(target=lambda: print(asyncio.run(say().run(agent)).reward))\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "1.0\n"
