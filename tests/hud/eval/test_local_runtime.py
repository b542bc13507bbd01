"""`LocalRuntime`: its warm parent and children, edits to the source, sources that go wrong, and objects served here.

Source: command-line and SDK specification, section 11; design, decision 18.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hud import Environment, LocalRuntime, Run, Task, Taskset
from hud.errors import DeadlineError, EnvironmentLoadError, HudError, NotFoundError, RuntimeStartError, UsageError
from hud.eval.runtimes import opened
from tests.hud.eval.places import left_running, marked, reached

pytestmark = pytest.mark.usefixtures("mark")

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write env.py with an environment `e` that says what `WHAT` is, and more."""
    folder = tmp_path / "source"
    folder.mkdir()

    def write(more: str = "", *, name: str = "env.py") -> Path:
        source = folder / name
        source.write_text(textwrap.dedent(PROLOGUE) + textwrap.dedent(more))
        return source

    return cast(Write, write)


PROLOGUE = """
import asyncio, os, subprocess, sys, threading, time
from pathlib import Path
from hud import Environment

here = Path(__file__).parent
env = Environment("e")
WHAT = "one"

@env.template()
async def say():
    yield WHAT
    yield 1.0

@env.template()
async def pid():
    yield str(os.getpid())
    yield 1.0
"""


def ask(template: str = "say", **args: object) -> Task:
    return Task("e", template, args)


async def nothing(run: Run) -> None:
    return None


async def prompt(runtime: LocalRuntime, template: str = "say", **args: object) -> str:
    (run,) = (await ask(template, **args).run(nothing, runtime=runtime)).runs
    assert run.error is None, run.error
    return str(run.prompt)


# Edits


async def test_an_edit_is_seen_by_the_next_rollout(write: Write) -> None:
    source = write("")
    async with LocalRuntime(source) as runtime:
        assert await prompt(runtime) == "one"
        write("WHAT = 'two'")
        assert await prompt(runtime) == "two"
        write("WHAT = 'six'")  # of the same length, within the same second
        assert await prompt(runtime) == "six"


async def test_an_edit_of_an_imported_sibling_is_seen(write: Write) -> None:
    source = write("from words import WHAT")
    words = source.with_name("words.py")
    words.write_text("WHAT = 'two'")
    async with LocalRuntime(source) as runtime:
        assert await prompt(runtime) == "two"
        words.write_text("WHAT = 'six'")
        assert await prompt(runtime) == "six"


async def test_a_file_that_comes_to_a_folder_is_seen(write: Write) -> None:
    source = write("")
    async with LocalRuntime(source.parent) as runtime:
        assert await prompt(runtime) == "one"
        source.with_name("more.py").write_text(
            "from env import env\n@env.template()\nasync def more():\n    yield 'more'\n    yield 1.0\n"
        )
        assert await prompt(runtime, "more") == "more"


async def test_a_rollout_goes_on_with_the_version_it_began_with(write: Write, mark: str) -> None:
    source = write("")
    edited, done = asyncio.Event(), asyncio.Event()

    async def agent(run: Run) -> None:
        edited.set()
        await done.wait()

    async with LocalRuntime(source) as runtime:
        old = asyncio.create_task(ask().run(agent, runtime=runtime))
        await edited.wait()
        write("WHAT = 'two'")
        assert await prompt(runtime) == "two"
        assert len(warm_parents(mark)) == 2  # the old one stays as long as its child
        done.set()
        job = await old
    assert [(run.prompt, run.reward, run.error) for run in job.runs] == [("one", 1.0, None)]


async def test_a_mistake_is_told_with_its_place_in_each_run_and_its_mending_is_seen(write: Write) -> None:
    source = write("def broken(:\n    pass\n")
    line = source.read_text().splitlines().index("def broken(:") + 1
    async with LocalRuntime(source) as runtime:
        job = await ask().run(nothing, runtime=runtime, group=3)
        for run in job.runs:
            assert run.phase == "provision"
            assert isinstance(run.error, EnvironmentLoadError)
            assert str(run.error).startswith(f"{source}:{line}: SyntaxError")
        write("")
        assert await prompt(runtime) == "one"


async def test_rollouts_that_wait_for_an_import_share_its_failure(write: Write) -> None:
    source = write("(here / 'imports').open('a').write('x')\ntime.sleep(0.2)\nraise ValueError('no such model')")
    job = await ask().run(nothing, runtime=LocalRuntime(source), group=20)
    assert {str(run.trace.error).split(": ", 1)[1] for run in job.runs} == {"ValueError: no such model"}
    assert len(source.with_name("imports").read_text()) <= 2


async def test_an_import_is_done_once_for_many_rollouts(write: Write) -> None:
    source = write("(here / 'imports').open('a').write('x')")
    job = await ask().run(nothing, runtime=LocalRuntime(source), group=30, max_concurrent=8)
    assert job.errors == []
    assert source.with_name("imports").read_text() == "x"


# Sources that go wrong


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ("raise ValueError('boom')", EnvironmentLoadError, "env.py:19: ValueError: boom"),
        ("import nothing_of_that_name", EnvironmentLoadError, "ModuleNotFoundError: No module named 'nothing_of_that"),
        ("sys.exit(3)", EnvironmentLoadError, "the source ends the process (3) while it is imported"),
        ("os._exit(3)", RuntimeStartError, "ended before it was ready"),
        ("del env", EnvironmentLoadError, "no Environment found in"),
        ("env.name = 'f'", RuntimeStartError, "no Environment named 'e' found in"),
        ("@env.template()\nasync def t(a: 'Nope'):\n    yield 1\n    yield 1", EnvironmentLoadError, "'Nope'"),
        (
            "@env.initialize\nasync def h():\n    raise ValueError('boom')",
            RuntimeStartError,
            "hook failed: ValueError:",
        ),
        ("@env.initialize\nasync def h():\n    sys.exit(3)", RuntimeStartError, "SystemExit"),
        ("@env.initialize\nasync def h():\n    os._exit(3)", RuntimeStartError, "ended before it was ready"),
    ],
    ids=["raises", "import", "exit", "hard exit", "none", "other", "type", "hook raises", "hook exits", "hook dies"],
)
async def test_a_source_that_cannot_be_served_says_why(
    write: Write, more: str, kind: type[HudError], message: str
) -> None:
    (run,) = (await ask().run(nothing, runtime=LocalRuntime(write(more)))).runs
    assert run.phase == "provision"
    assert type(run.error) is kind
    assert message in str(run.error)


async def test_a_missing_source_is_not_found(tmp_path: Path) -> None:
    (run,) = (await ask().run(nothing, runtime=LocalRuntime(tmp_path / "nowhere.py"))).runs
    assert isinstance(run.error, NotFoundError)
    assert str(run.error) == f"no such file or folder: {tmp_path / 'nowhere.py'}"


@pytest.mark.parametrize("daemon", [True, False])
async def test_threads_made_on_import_are_refused_with_the_way_out(write: Write, daemon: bool) -> None:
    source = write(f"threading.Thread(target=time.sleep, args=(60,), daemon={daemon}).start()")
    async with asyncio.timeout(8):
        (run,) = (await ask().run(nothing, runtime=LocalRuntime(source))).runs
    assert isinstance(run.error, RuntimeStartError)
    assert "starts threads while it is imported" in str(run.error)
    assert run.error.hint == "use SubprocessRuntime, or start them in an @env.initialize hook"


@pytest.mark.parametrize(
    "more", ["time.sleep(60)", "while True: pass", "signal = __import__('signal').pause()"], ids=["sleep", "loop", "c"]
)
async def test_an_import_that_hangs_is_given_up_in_its_time(write: Write, mark: str, more: str) -> None:
    async with asyncio.timeout(8):
        (run,) = (await ask().run(nothing, runtime=LocalRuntime(write(more), ready_timeout=0.7))).runs
    assert isinstance(run.error, DeadlineError)
    assert "was not ready within 0.7 s" in str(run.error)
    assert left_running(mark) == {}


async def test_cancelled_during_an_import_nothing_is_left(write: Write, mark: str) -> None:
    source = write("(here / 'importing').touch()\ntime.sleep(60)")
    job = asyncio.create_task(ask().run(nothing, runtime=LocalRuntime(source)))
    await reached(source.with_name("importing"))
    job.cancel()
    async with asyncio.timeout(8):
        await asyncio.wait({job})
    assert left_running(mark) == {}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["hook", "template"])
async def test_a_child_that_blocks_for_ever_is_killed(write: Write, mark: str, where: str) -> None:
    source = write(
        "@env.initialize\nasync def block():\n    time.sleep(3600)\n"
        if where == "hook"
        else "@env.template()\nasync def block():\n    os.system('sleep 3600 &')\n    time.sleep(3600)\n    yield 1"
    )
    begun = time.monotonic()
    runtime = LocalRuntime(source, ready_timeout=0.5)
    (run,) = (await ask("block").run(nothing, runtime=runtime, rollout_timeout=1.5)).runs
    assert isinstance(run.error, DeadlineError)
    assert time.monotonic() - begun < 14
    assert left_running(mark) == {}


async def test_what_a_child_started_and_left_behind_goes_with_it(write: Write, mark: str) -> None:
    source = write(
        """
        sleeper = subprocess.Popen(["sleep", "3600"])

        @env.template()
        async def leave(code: int | None = None):
            subprocess.Popen(["sh", "-c", "sleep 3600 & sleep 3600"])
            os.system("sleep 3600 &")
            if os.fork() == 0:
                time.sleep(3600)
            if code is not None:
                os._exit(code)
            yield "left"
            yield 1.0
        """
    )
    async with asyncio.timeout(30):
        job = await Taskset("all", [ask("leave"), ask("leave", code=3)]).run(nothing, runtime=LocalRuntime(source))
    assert [run.is_graded for run in job.runs] == [True, False]
    assert left_running(mark) == {}


# The warm parent and its children


async def test_one_warm_parent_that_is_killed_costs_no_more_than_what_it_was_asked(write: Write, mark: str) -> None:
    source = write("")
    async with LocalRuntime(source) as runtime:

        async def agent(run: Run) -> None:
            (parent,) = warm_parents(mark)
            os.kill(parent, signal.SIGKILL)

        (run,) = (await ask("pid").run(agent, runtime=runtime)).runs
        assert (run.reward, run.error) == (1.0, None)
        await asyncio.sleep(0.2)
        assert await prompt(runtime) == "one"


def warm_parents(mark: str) -> set[int]:
    return {pid for pid, parent in family(mark).items() if parent == os.getpid()}


def children(mark: str) -> set[int]:
    return {pid for pid, parent in family(mark).items() if parent != os.getpid()}


def family(mark: str) -> dict[int, int]:
    """The marked processes and their parents."""
    found = {}
    for pid in marked(mark):
        try:
            found[pid] = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass  # gone meanwhile
    return found


async def test_a_waiting_child_that_is_killed_is_replaced(write: Write, mark: str) -> None:
    async with LocalRuntime(write("")) as runtime:
        assert await prompt(runtime) == "one"
        async with asyncio.timeout(10):
            while not (waiting := children(mark)):  # noqa: ASYNC110  another process forks it
                await asyncio.sleep(0.01)
        for pid in waiting:
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while waiting & set(marked(mark)):  # noqa: ASYNC110  a process does not end at once
                await asyncio.sleep(0.01)
        assert await prompt(runtime) == "one"


async def test_each_child_has_randomness_of_its_own(write: Write) -> None:
    source = write("import random\n@env.template()\nasync def draw():\n    yield str(random.random())\n    yield 1.0\n")
    job = await ask("draw").run(nothing, runtime=LocalRuntime(source), group=8)
    assert len({run.prompt for run in job.runs}) == 8


async def test_what_an_environment_prints_is_for_people(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    source = write(
        "print('imported')\n@env.template()\nasync def talk():\n    print('at work')\n    os.system('echo outside')\n"
        "    yield 1\n    yield 1\n"
    )
    assert await prompt(LocalRuntime(source), "talk") == "1"
    captured = capfd.readouterr()
    assert captured.out == ""
    assert {"imported", "at work", "outside"} <= set(captured.err.split("\n"))


async def test_a_child_ends_before_the_next_begins_when_it_has_hooks(write: Write) -> None:
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
    job = await ask().run(nothing, runtime=LocalRuntime(source), group=3, max_concurrent=1)
    assert [run.trace.error for run in job.runs] == [None] * 3


async def test_a_hook_that_waits_hears_the_end(write: Write, tmp_path: Path) -> None:
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
    job = asyncio.create_task(ask().run(nothing, runtime=LocalRuntime(source)))
    await reached(source.with_name("waiting"))
    job.cancel()
    await asyncio.wait({job})
    assert source.with_name("heard").exists()


@pytest.mark.parametrize("pinned", ["second", "f"])
async def test_an_environment_may_be_pinned_by_name_or_variable(write: Write, pinned: str) -> None:
    source = write(
        "second = Environment('f')\n@second.template()\nasync def say():\n    yield 'second'\n    yield 1.0\n"
    )
    assert await prompt(LocalRuntime(source, env=pinned)) == "second"


async def test_an_endless_name_is_refused(write: Write) -> None:
    runtime = LocalRuntime(write(""), env="e" * 10_000)
    async with opened(runtime):
        (run,) = (await ask().run(nothing, runtime=runtime)).runs
        assert isinstance(run.error, UsageError)
        assert str(run.error).startswith("an environment's name has 10000 characters")
        runtime.env = None
        assert await prompt(runtime) == "one"


async def test_the_source_may_be_named_from_where_one_stands(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write("@env.template()\nasync def where():\n    yield os.getcwd()\n    yield 1.0\n")
    monkeypatch.chdir(source.parent)
    assert await prompt(LocalRuntime("env.py"), "where") == str(source.parent)
    assert await prompt(LocalRuntime("."), "where") == str(source.parent)


@pytest.mark.slow
async def test_hundreds_at_once_wait_their_turn(write: Write, mark: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    source = write("")
    try:
        async with LocalRuntime(source) as runtime:
            await prompt(runtime)
            (parent,) = warm_parents(mark)
            os.kill(parent, signal.SIGSTOP)  # so that all the requests have to wait at once
            job = asyncio.create_task(ask().run(nothing, runtime=runtime, group=400))
            await asyncio.sleep(1)
            os.kill(parent, signal.SIGCONT)
            done = await job
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert done.errors == []
    assert done.reward == 1.0


# What stays


async def test_rollouts_leave_no_descriptor_and_no_memory_behind(write: Write) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def kilobytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024

    runtime = LocalRuntime(write(""))
    async with runtime:
        await ask().run(nothing, runtime=runtime, group=50, max_concurrent=8)
        before, memory = descriptors(), kilobytes()
        for _ in range(4):
            job = await ask().run(nothing, runtime=runtime, group=50, max_concurrent=8)
            assert job.errors == []
        async with asyncio.timeout(10):
            while descriptors() > before:  # noqa: ASYNC110  children of the last rollouts are on their way out
                await asyncio.sleep(0.01)
        assert kilobytes() - memory < 4000
    assert descriptors() < before


async def test_the_same_for_a_live_environment() -> None:
    env = Environment("e")

    @env.template()
    async def say() -> AsyncIterator[Any]:
        yield "one"
        yield 1.0

    runtime = LocalRuntime(env, width=8)
    before = len(os.listdir("/proc/self/fd"))
    async with runtime:
        for _ in range(3):
            assert (await ask().run(nothing, runtime=runtime, group=100)).errors == []
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


# Objects served here


async def test_a_live_environment_is_shared_by_as_many_as_it_is_wide() -> None:
    there, most, hooks = 0, 0, []
    env = Environment("e")

    @env.initialize
    async def begin() -> None:
        hooks.append("begin")

    @env.shutdown
    async def end() -> None:
        await asyncio.sleep(0.05)
        hooks.append("end")

    @env.template()
    async def say() -> AsyncIterator[Any]:
        nonlocal there, most
        there += 1
        most = max(most, there)
        yield "one"
        there -= 1
        yield 1.0

    async def agent(run: Run) -> None:
        await asyncio.sleep(0.01)

    for width in (1, 3):
        most = 0
        runtime = LocalRuntime(env, width=width)
        assert (await ask().run(agent, runtime=runtime, group=7)).reward == 1.0
        assert most == width
    assert hooks == ["begin", "end"] * 2


async def test_a_job_that_begins_while_another_ends_finds_the_environment_started() -> None:
    log: list[str] = []
    env = Environment("e")

    @env.initialize
    async def begin() -> None:
        await asyncio.sleep(0.01)
        log.append("begin")

    @env.shutdown
    async def end() -> None:
        await asyncio.sleep(0.02)
        log.append("end")

    @env.template()
    async def say() -> AsyncIterator[Any]:
        yield log[-1]
        yield 1.0

    runtime = LocalRuntime(env, width=4)

    async def later(pause_s: float) -> str:
        await asyncio.sleep(pause_s)
        return await prompt(runtime)

    assert set(await asyncio.gather(*(later(n * 0.007) for n in range(20)))) == {"begin"}
    assert log == ["begin", "end"] * (len(log) // 2)


async def test_a_hook_of_a_live_environment_that_fails_is_told_and_tried_again() -> None:
    env = Environment("e")
    tries: list[None] = []

    @env.initialize
    async def begin() -> None:
        tries.append(None)
        if len(tries) < 3:
            raise ValueError("not yet")

    @env.template()
    async def say() -> AsyncIterator[Any]:
        yield "one"
        yield 1.0

    job = await ask().run(nothing, runtime=LocalRuntime(env), group=4, max_concurrent=1)
    assert [run.is_graded for run in job.runs] == [False, False, True, True]
    assert "an initialize hook failed: ValueError: not yet" in str(job.runs[0].error)


async def test_a_callable_builds_an_environment_for_each_rollout() -> None:
    built: list[str] = []
    stopped: list[str] = []

    def build(task: Task) -> Environment:
        env = Environment(task.env)
        built.append(task.slug)

        @env.template()
        async def say() -> AsyncIterator[Any]:
            yield task.slug
            yield 1.0

        @env.shutdown
        async def end() -> None:
            stopped.append(task.slug)

        return env

    tasks = Taskset("t", [Task("e", "say", slug="a"), Task("f", "say", slug="b")])
    job = await tasks.run(nothing, runtime=LocalRuntime(build), group=2)
    assert [run.prompt for run in job.runs] == ["a", "a", "b", "b"]
    assert sorted(built) == sorted(stopped) == ["a", "a", "b", "b"]


async def test_a_callable_that_builds_none_is_told() -> None:
    (run,) = (await ask().run(nothing, runtime=LocalRuntime(cast(Any, lambda task: task.env)))).runs
    assert str(run.error) == "LocalRuntime was given a callable that made a str"


@pytest.mark.parametrize("source", [None, 3, ["env.py"]])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(UsageError, match="LocalRuntime takes a path or an Environment"):
        LocalRuntime(source)


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="width is 0"):
        LocalRuntime("env.py", width=0)


async def test_two_event_loops_at_once_are_refused(write: Write) -> None:
    runtime = LocalRuntime(write(""))
    async with runtime:
        done = await asyncio.to_thread(lambda: asyncio.run(ask().run(nothing, runtime=LocalRuntime(write("")))))
        assert done.reward == 1.0  # an instance for each is fine
        with pytest.raises(UsageError, match="one event loop at a time"):
            await asyncio.to_thread(lambda: asyncio.run(ask().run(nothing, runtime=runtime)))
        assert await prompt(runtime) == "one"
