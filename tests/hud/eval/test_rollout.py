"""One rollout: what it makes of agents, providers and environments that misbehave, and of asyncio around it.

Source: command-line and SDK specification, sections 8.1, 8.2 and 9.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from hud import Environment, LocalRuntime, Run, Runtime, Shared, Task, Taskset
from hud.client import connect
from hud.environment.source import load_environment
from hud.errors import DeadlineError, HudError, UnreachableError
from hud.eval import drive, rollout
from hud.eval.drive import Agent
from hud.eval.runtimes import Provider, opened
from hud.graders import EvaluationResult
from tests.hud.eval.places import row, served, write_source


@pytest.fixture
def journal() -> list[str]:
    """What happened in the environment."""
    return []


@pytest.fixture
def environment(journal: list[str]) -> Environment:
    env = Environment("small")

    @env.template()
    async def add(a: int = 1, b: int = 2) -> AsyncIterator[Any]:
        journal.append("start")
        try:
            answer = yield f"What is {a} + {b}?"
            yield 1.0 if answer == str(a + b) else 0.0
        finally:
            journal.append("end")

    @env.template()
    async def bind(bindings: Any) -> AsyncIterator[Any]:
        journal.append("start")
        try:
            yield {"prompt": "Use it.", "bindings": bindings}
            yield 1.0
        finally:
            journal.append("end")

    @env.template()
    async def give_up(content: str | None = None) -> AsyncIterator[Any]:
        yield "Whatever."
        yield EvaluationResult(reward=0.7, content=content, isError=True)

    @env.template()
    async def misspell() -> AsyncIterator[Any]:
        yield "Whatever."
        yield {"score": 1, "subscores": [{"nome": "style", "value": 1}]}

    return env


@pytest.fixture
def runtime(environment: Environment) -> LocalRuntime:
    return LocalRuntime(environment, width=8)


def small(template: str = "add", **args: object) -> Task:
    return Task("small", template, args)


async def answer(run: Run) -> str:
    return "3"


# Agents


async def cancel_itself(run: Run) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


async def fail_in_a_group(run: Run) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        group.create_task(fail())


async def fail() -> None:
    raise KeyError("no such tool")


async def time_out_itself(run: Run) -> None:
    async with asyncio.timeout(0):
        await asyncio.sleep(60)


def answer_at_once(run: Run) -> str:
    return "3"


async def be_refused(run: Run) -> None:
    run.client.binding("screen")


@pytest.mark.parametrize(
    ("agent", "error"),
    [
        (cancel_itself, "[agent] the agent cancelled itself"),
        (fail_in_a_group, "[agent] KeyError: 'no such tool'"),
        (time_out_itself, "[agent] TimeoutError"),
        (answer_at_once, "[agent] the agent gave a str, nothing to await"),
        (be_refused, "[agent] no capability 'screen' in environment 'small'"),
    ],
)
async def test_however_an_agent_fails_the_task_is_graded_and_the_next_one_run(
    runtime: LocalRuntime, agent: Agent, error: str
) -> None:
    job = await small().run(agent, runtime=runtime, group=3, max_concurrent=1)

    assert [run.trace.error for run in job.runs] == [error] * 3
    assert [run.is_graded for run in job.runs] == [True] * 3
    assert [run.phase for run in job.runs] == ["agent"] * 3
    assert [run.trace.stop_reason for run in job.runs] == [None] * 3


async def answer_when_stopped(run: Run) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pass
    return "3"


async def fail_when_stopped(run: Run) -> None:
    run.trace.content = "3"
    try:
        await asyncio.sleep(60)
    finally:
        raise RuntimeError("the browser would not close")


@pytest.mark.parametrize("agent", [answer_when_stopped, fail_when_stopped])
async def test_an_agent_stopped_by_its_deadline_says_so_whatever_it_does_then(
    runtime: LocalRuntime, agent: Agent
) -> None:
    task = small()
    task.agent_config = {"timeout_seconds": 0.05}
    (run,) = (await task.run(agent, runtime=runtime)).runs

    assert run.trace.error == "[agent] the agent was not done within 0.05 s"
    assert run.trace.stop_reason == "timeout"
    assert run.reward == 1.0


async def test_what_an_agent_sets_on_the_trace_goes_before_what_it_returns(runtime: LocalRuntime) -> None:
    async def agent(run: Run) -> str:
        run.trace.final("3")
        return "a summary for the log"

    (run,) = (await small().run(agent, runtime=runtime)).runs
    assert run.reward == 1.0
    assert run.trace.stop_reason == "done"


async def test_the_client_lives_as_long_as_the_agent(runtime: LocalRuntime) -> None:
    (run,) = (await small().run(answer, runtime=runtime)).runs
    with pytest.raises(HudError, match="no live connection"):
        run.client  # noqa: B018  # reading it is the act


class Stop(BaseException):
    """What test frameworks and interpreters raise to end everything."""


async def test_what_is_no_exception_of_an_agent_ends_the_job_as_itself(
    runtime: LocalRuntime, journal: list[str]
) -> None:
    async def agent(run: Run) -> None:
        raise Stop

    with pytest.raises(Stop):
        await small().run(agent, runtime=runtime, group=3)
    assert journal.count("start") == journal.count("end")


# Heartbeats


async def test_a_channel_that_falls_silent_ends_the_agents_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "_HEARTBEAT_S", 0.05)
    monkeypatch.setattr(drive, "_HEARTBEAT_LIMIT_S", 0.2)
    monkeypatch.setattr(drive, "_CANCEL_LIMIT_S", 0.2)
    async with served(write_source(tmp_path), "contract") as place:
        prompted: list[int] = []

        async def agent(run: Run) -> None:
            prompted.append(int(run.prompt.split()[1]))
            await asyncio.sleep(0.2)  # a few beats that are answered
            os.kill(prompted[0], signal.SIGSTOP)
            await asyncio.sleep(60)

        (run,) = (await row("where").run(agent, runtime=place)).runs
        os.kill(prompted[0], signal.SIGCONT)

    assert not run.is_graded
    assert isinstance(run.error, DeadlineError)
    assert run.trace.error == "[agent] the environment did not answer a heartbeat within 0.2 s"


async def test_a_heartbeat_does_not_disturb_an_agents_own_calls(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "_HEARTBEAT_S", 0.001)

    async def agent(run: Run) -> str:
        for _ in range(50):
            await run.client.list_tasks()
            await asyncio.sleep(0.001)
        return "3"

    (run,) = (await small().run(agent, runtime=runtime)).runs
    assert (run.reward, run.error) == (1.0, None)


# Providers


async def plain_coroutine(task: Task) -> Runtime:
    return Runtime("tcp://127.0.0.1:1")


async def undecorated(task: Task) -> AsyncIterator[Runtime]:
    yield Runtime("tcp://127.0.0.1:1")


@asynccontextmanager
async def a_text(task: Task) -> AsyncIterator[Any]:
    yield "tcp://127.0.0.1:1"


@asynccontextmanager
async def never_there(task: Task) -> AsyncIterator[Runtime]:
    raise OSError("the lab is closed")
    yield


@asynccontextmanager
async def cancels_itself(task: Task) -> AsyncIterator[Runtime]:
    raise asyncio.CancelledError
    yield


@pytest.mark.parametrize(
    ("provider", "error"),
    [
        (plain_coroutine, "[provision] the runtime gave a coroutine, which is no async context manager"),
        (undecorated, "[provision] the runtime gave a async_generator, which is no async context manager"),
        (a_text, "[provision] the runtime yielded 'tcp://127.0.0.1:1'"),
        (never_there, "[provision] OSError: the lab is closed"),
        (cancels_itself, "[provision] the runtime cancelled itself"),
        (Runtime("ftp://127.0.0.1"), "[connect] "),
    ],
)
async def test_a_provider_that_is_none_fails_each_run_and_says_why(provider: Provider, error: str) -> None:
    job = await small().run(answer, runtime=provider, group=2, max_concurrent=1)
    assert [cast(str, run.trace.error)[: len(error)] for run in job.runs] == [error] * 2
    assert [run.is_graded for run in job.runs] == [False] * 2


async def test_nothing_at_an_address_is_named_with_the_time_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "_READY_TIMEOUT_S", 0.2)
    (run,) = (await small().run(answer, runtime=Runtime("tcp://127.0.0.1:1"))).runs
    assert run.phase == "connect"
    assert isinstance(run.error, DeadlineError)
    assert "tcp://127.0.0.1:1 within 0.2 s" in str(run.error)


async def test_a_release_that_fails_is_told_and_the_grade_stays(runtime: LocalRuntime) -> None:
    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        async with runtime(task) as place:
            yield place
        raise OSError("the lease would not end")

    (run,) = (await small().run(answer, runtime=provider)).runs
    assert (run.reward, run.is_graded) == (1.0, True)
    assert run.trace.error == "[release] OSError: the lease would not end"
    assert run.phase == "release"


async def test_an_actors_release_that_fails_leaves_no_verdict_to_a_verifier_elsewhere(runtime: LocalRuntime) -> None:
    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        async with runtime(task) as place:
            yield place
        raise OSError("the lease would not end")

    task = small()
    task.verifier = Task("elsewhere", "add")
    (run,) = (await task.run(answer, runtime=provider)).runs
    assert not run.is_graded
    assert run.phase == "release"


# Environments


async def test_bindings_reach_the_agent(runtime: LocalRuntime) -> None:
    async def agent(run: Run) -> None:
        assert run.bindings == {"robot": {"token": "t"}}

    (run,) = (await small("bind", bindings={"robot": {"token": "t"}}).run(agent, runtime=runtime)).runs
    assert (run.reward, run.error) == (1.0, None)


async def test_a_task_that_the_client_cannot_use_is_not_left_parked(
    environment: Environment, runtime: LocalRuntime, journal: list[str]
) -> None:
    async with opened(runtime):
        run = await rollout(small("add", a="x"), answer, runtime=runtime)
        assert run.phase == "start"
        assert run.runtime is not None
        async with connect(run.runtime) as client:
            with pytest.raises(HudError, match="no task in progress"):
                await client.grade("3")


@pytest.mark.parametrize(
    ("content", "said"), [(None, ""), ("the judge is offline", ": the judge is offline")], ids=["bare", "with a reason"]
)
async def test_an_evaluation_that_is_an_error_does_not_count(
    runtime: LocalRuntime, content: str | None, said: str
) -> None:
    (run,) = (job := await small("give_up", content=content).run(answer, runtime=runtime)).runs
    assert not run.is_graded
    assert job.errors == [run]
    assert job.reward == 0.0
    assert run.trace.error == f"[grade] the environment could not grade the task{said}"


async def test_sub_scores_that_are_none_leave_the_run_ungraded(runtime: LocalRuntime) -> None:
    job = await small("misspell").run(answer, runtime=runtime)

    assert job.errors == job.runs
    assert job.runs[0].trace.error == "[grade] hud rpc error -32603: tasks.grade: a sub-score has no field 'nome'"


async def test_a_grade_before_there_is_one_is_an_error(runtime: LocalRuntime) -> None:
    async def agent(run: Run) -> None:
        assert run.grade.is_error
        assert run.reward == 0.0
        assert run.evaluation == {}

    (run,) = (await small().run(agent, runtime=runtime)).runs
    assert run.error is None


async def test_a_connection_that_is_lost_is_told_as_such(tmp_path: Path) -> None:
    async with served(write_source(tmp_path), "contract") as place:

        async def agent(run: Run) -> None:
            os.kill(int(run.prompt.split()[1]), signal.SIGKILL)

        (run,) = (await row("where").run(agent, runtime=place)).runs
    assert isinstance(run.error, UnreachableError)
    assert run.phase == "grade"
    assert not run.is_graded


# Times


async def test_each_phase_has_its_time_the_failed_one_too(runtime: LocalRuntime) -> None:
    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        await asyncio.sleep(0.05)
        async with runtime(task) as place:
            yield place
            await asyncio.sleep(0.05)

    async def agent(run: Run) -> None:
        await asyncio.sleep(0.05)

    begun = time.perf_counter()
    (run,) = (await small().run(agent, runtime=provider)).runs
    elapsed = time.perf_counter() - begun

    times = run.timings
    assert min(times.provision, times.agent, times.release) >= 0.05
    assert min(times.connect, times.start, times.grade) > 0
    assert times.verify == 0
    assert elapsed * 0.5 < times.total < elapsed

    (stuck,) = (await small().run(hang, runtime=provider, rollout_timeout=0.3)).runs
    assert stuck.timings.agent >= 0.1


async def hang(run: Run) -> None:
    await asyncio.sleep(60)


# asyncio around it


async def test_a_rollout_may_run_inside_a_task_group(runtime: LocalRuntime) -> None:
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(small(a=n, b=3 - n).run(answer, runtime=runtime)) for n in range(4)]
    assert [job.result().reward for job in jobs] == [1.0] * 4


async def test_a_failing_sibling_in_the_callers_group_cancels_the_rollout(
    runtime: LocalRuntime, journal: list[str]
) -> None:
    started = asyncio.Event()

    async def agent(run: Run) -> None:
        started.set()
        await hang(run)

    async def fail_once_started() -> None:
        await started.wait()
        raise ValueError("elsewhere")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(small().run(agent, runtime=runtime))
            group.create_task(fail_once_started())
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert journal == ["start", "end"]


@pytest.mark.parametrize("kind", ["live", "path", "shared"])
def test_one_provider_serves_event_loops_one_after_the_other(kind: str, tmp_path: Path) -> None:
    source = write_source(tmp_path)
    provider: Provider = LocalRuntime(load_environment(source, name="contract") if kind == "live" else source)
    if kind == "shared":
        provider = Shared(provider, width=2)

    async def agent(run: Run) -> str:
        await asyncio.sleep(0.01)  # so that the others have to wait for the seat
        return "3"

    for _ in range(3):
        job = asyncio.run(row("add", a=1, b=2).run(agent, runtime=provider, group=5))
        assert [run.trace.error for run in job.runs] == [None] * 5
        assert job.reward == 1.0


async def test_a_provider_may_be_opened_within_itself(tmp_path: Path) -> None:
    provider = LocalRuntime(write_source(tmp_path))
    async with provider, provider, Shared(provider, width=2) as shared, shared:
        first = await row("add").run(answer, runtime=provider)
        second = await row("add").run(answer, runtime=shared)
    third = await row("add").run(answer, runtime=provider)
    assert [job.reward for job in (first, second, third)] == [1.0, 1.0, 1.0]


def test_an_eager_loop_runs_them_too(tmp_path: Path) -> None:
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    source = write_source(tmp_path)

    async def main() -> list[float]:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        tasks = Taskset("sums", [row("add", a=n, b=3 - n) for n in range(4)])
        jobs = [await tasks.run(answer, runtime=provider) for provider in (LocalRuntime(source),)]
        return [job.reward for job in jobs]

    assert asyncio.run(main()) == [1.0]


# The end of the program


def test_an_agent_that_exits_ends_the_program_and_nothing_is_left(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, sys\n"
        "from hud import LocalRuntime, Task\n"
        "async def agent(run):\n"
        "    sys.exit(5)\n"
        "runtime = LocalRuntime(sys.argv[1])\n"
        "asyncio.run(Task('contract', 'add').run(agent, runtime=runtime, group=3))\n"
    )
    command: list[str | Path] = [sys.executable, script, write_source(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (5, "")


async def test_an_agent_that_will_not_stop_is_left_behind_and_the_task_graded(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hud.eval.drive._AGENT_STOP_LIMIT_S", 0.1)
    released = asyncio.Event()

    async def stubborn(run: Run) -> None:
        run.trace.content = "3"
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    task = small()
    task.agent_config = {"timeout_seconds": 0.05}
    job = await task.run(stubborn, runtime=runtime)
    released.set()

    assert (job.reward, job.runs[0].trace.stop_reason) == (1.0, "timeout")
    assert "the agent ignores its cancellation" in caplog.text
