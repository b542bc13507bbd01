"""`SubprocessRuntime`: a fresh interpreter a rollout, its output, and its end.

Source: command-line and SDK specification, section 11.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from hud import Run, SubprocessRuntime, Task, Taskset
from hud.errors import DeadlineError, HudError, NotFoundError, RuntimeStartError
from tests.hud.eval.places import left_running, reached

pytestmark = pytest.mark.usefixtures("mark")

Write = Callable[[str], Path]

PROLOGUE = """
import asyncio, os, subprocess, sys, threading, time
from pathlib import Path
from hud import Environment

here = Path(__file__).parent
env = Environment("e")

@env.template()
async def say():
    yield f"{os.getpid()} {os.getcwd()}"
    yield 1.0
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write env.py with an environment `e`, and more."""
    folder = tmp_path / "source"
    folder.mkdir()

    def write(more: str = "") -> Path:
        (folder / "env.py").write_text(PROLOGUE + textwrap.dedent(more))
        return folder / "env.py"

    return cast(Write, write)


def ask(template: str = "say", **args: object) -> Task:
    return Task("e", template, args)


async def nothing(run: Run) -> None:
    return None


async def one(runtime: SubprocessRuntime, template: str = "say", **args: object) -> Run:
    (run,) = (await ask(template, **args).run(nothing, runtime=runtime)).runs
    return run


async def test_each_rollout_has_an_interpreter_in_the_folder_of_the_source(write: Write) -> None:
    source = write("")
    for path in (source, source.parent):
        job = await ask().run(nothing, runtime=SubprocessRuntime(path), group=2)
        prompts = [str(run.prompt).split() for run in job.runs]
        assert len({pid for pid, _ in prompts}) == 2
        assert {folder for _, folder in prompts} == {str(source.parent)}


async def test_threads_made_on_import_are_welcome(write: Write) -> None:
    run = await one(SubprocessRuntime(write("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()")))
    assert (run.reward, run.error) == (1.0, None)


@pytest.mark.parametrize("pinned", ["second", "f"])
async def test_an_environment_may_be_pinned_by_name_or_variable(write: Write, pinned: str) -> None:
    source = write(
        "second = Environment('f')\n@second.template()\nasync def say():\n    yield 'second'\n    yield 1.0\n"
    )
    assert (await one(SubprocessRuntime(source, env=pinned))).prompt == "second"


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ("raise ValueError('boom')", RuntimeStartError, "env.py:13: ValueError: boom"),
        ("env.name = 'f'", RuntimeStartError, "no Environment named 'e' found in"),
        ("os._exit(7)", RuntimeStartError, "ended with exit code 7 before it was ready"),
        (
            "@env.initialize\nasync def h():\n    raise ValueError('boom')",
            RuntimeStartError,
            "hook failed: ValueError: ",
        ),
        ("os.system('sleep 3600 &')\nos._exit(7)", RuntimeStartError, "ended with exit code 7 before it was ready"),
        ("for n in range(80):\n    print('line', n)\nos._exit(7)", RuntimeStartError, "it printed:\nline 30\nline 31"),
        ("time.sleep(60)", DeadlineError, "was not ready within 1.5 s"),
        ("while True: pass", DeadlineError, "was not ready within 1.5 s"),
        ("print('loading the model', flush=True)\ntime.sleep(60)", DeadlineError, "it printed:\nloading the model"),
    ],
    ids=[
        "raises",
        "other",
        "exit",
        "leaves something",
        "hook raises",
        "last lines",
        "sleeps",
        "loops",
        "says why it is slow",
    ],
)
async def test_a_source_that_cannot_be_served_says_why(
    write: Write, mark: str, more: str, kind: type[HudError], message: str
) -> None:
    async with asyncio.timeout(10):
        run = await one(SubprocessRuntime(write(more), ready_timeout=1.5))
    assert run.phase == "provision"
    assert type(run.error) is kind
    assert message in str(run.error)
    assert left_running(mark) == {}


async def test_a_missing_source_is_not_found(tmp_path: Path) -> None:
    run = await one(SubprocessRuntime(tmp_path / "nowhere.py"))
    assert isinstance(run.error, NotFoundError)


async def test_what_an_environment_prints_is_for_people(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    source = write(
        """
        print("imported")
        print("HUD_SERVE_PORT=soon")

        @env.template()
        async def talk(megabytes: int):
            print("at work")
            os.system("echo outside")
            sys.stdout.write("x" * megabytes * 2**20)
            yield 1
            yield 1
        """
    )
    assert (await one(SubprocessRuntime(source), "talk", megabytes=3)).error is None
    captured = capfd.readouterr()
    assert captured.out == ""
    assert {"imported", "HUD_SERVE_PORT=soon", "at work", "outside"} <= set(captured.err.split("\n"))
    assert captured.err.count("x") == 3 * 2**20


def test_a_closed_standard_error_of_ours_does_not_hold_it_up(write: Write, tmp_path: Path) -> None:
    source = write("@env.template()\nasync def talk():\n    print('x\\n' * 500_000)\n    yield 1\n    yield 1\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, os, sys\n"
        "from hud import SubprocessRuntime, Task\n"
        "async def agent(run):\n"
        "    pass\n"
        "read, write = os.pipe()\n"
        "os.dup2(write, 2)\n"
        "os.close(read)\n"
        "job = asyncio.run(Task('e', 'talk').run(agent, runtime=SubprocessRuntime(sys.argv[1])))\n"
        "print(job.reward, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, str(script), str(source)], capture_output=True, text=True, timeout=30)
    assert done.stdout == "1.0\n"


async def test_a_child_ends_before_the_next_begins(write: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    source = write(
        f"""
        @env.initialize
        async def serve():
            global server
            server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", {port}, reuse_address=False)

        @env.shutdown
        async def stop():
            await asyncio.sleep(0.1)
            server.close()
        """
    )
    job = await ask().run(nothing, runtime=SubprocessRuntime(source), group=2, max_concurrent=1)
    assert [run.trace.error for run in job.runs] == [None] * 2


async def test_cancelled_during_a_hook_the_hook_hears_it(write: Write, mark: str) -> None:
    source = write(
        """
        @env.initialize
        async def wait():
            (here / "waiting").touch()
            try:
                await asyncio.sleep(3600)
            finally:
                (here / "heard").touch()
        """
    )
    job = asyncio.create_task(ask().run(nothing, runtime=SubprocessRuntime(source)))
    await reached(source.with_name("waiting"))
    job.cancel()
    await asyncio.wait({job})
    assert source.with_name("heard").exists()
    assert left_running(mark) == {}


async def test_what_a_child_started_and_left_behind_goes_with_it(write: Write, mark: str) -> None:
    source = write(
        """
        sleeper = subprocess.Popen(["sleep", "3600"])

        @env.template()
        async def leave(code: int | None = None):
            subprocess.Popen(["sh", "-c", "sleep 3600 & sleep 3600"])
            os.system("sleep 3600 &")
            if code is not None:
                os._exit(code)
            yield "left"
            yield 1.0
        """
    )
    rows = Taskset("all", [ask("leave"), ask("leave", code=3)])
    async with asyncio.timeout(9):  # it does not wait for them, and then kill
        job = await rows.run(nothing, runtime=SubprocessRuntime(source))
    assert [run.is_graded for run in job.runs] == [True, False]
    assert left_running(mark) == {}


@pytest.mark.slow
async def test_a_child_that_blocks_for_ever_is_killed(write: Write, mark: str) -> None:
    source = write(
        "@env.template()\nasync def block():\n    os.system('sleep 3600 &')\n    time.sleep(3600)\n    yield 1\n"
    )
    begun = time.monotonic()
    job = await ask("block").run(nothing, runtime=SubprocessRuntime(source), rollout_timeout=2)
    assert isinstance(job.runs[0].error, DeadlineError)
    assert time.monotonic() - begun < 16
    assert left_running(mark) == {}


async def test_rollouts_leave_no_descriptor_behind(write: Write) -> None:
    runtime = SubprocessRuntime(write(""))
    await one(runtime)
    before = len(os.listdir("/proc/self/fd"))
    await ask().run(nothing, runtime=runtime, group=6, max_concurrent=3)
    await asyncio.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before
