"""One rollout: bring a substrate up, start the task, let the agent work, grade, and leave nothing behind.

Source: command-line and SDK specification, sections 8.1 and 8.2.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from hud.client.client import Client, open_client
from hud.errors import DeadlineError, HudError, HudProtocolError
from hud.eval.job import new_id
from hud.eval.run import Grade, Phase, Run, Step
from hud.eval.runtimes import Provider
from hud.eval.task import Task

__all__ = ["Agent", "rollout"]

Agent = Callable[[Run], Awaitable[object]]
"""Anything that works on a run: it reads the prompt, acts, and sets `run.trace.content` (or returns the answer)."""

_READY_TIMEOUT_S = 120.0
_CANCEL_LIMIT_S = 2.0
_HEARTBEAT_S, _HEARTBEAT_LIMIT_S = 120.0, 5.0


async def rollout(
    task: Task,
    agent: Agent,
    *,
    runtime: Provider,
    job_id: str | None = None,
    group_id: str | None = None,
    trace_id: str | None = None,
    rollout_timeout: float | None = None,
) -> Run:
    """Run an agent once on a task.

    A failure of the substrate, the environment or the grading gives a run without a grade that says in which phase;
    a failure of the agent is noted and the task is graded all the same.

    Args:
        rollout_timeout: Seconds from provisioning to the grade; at its end everything is cancelled and removed.

    Raises:
        asyncio.CancelledError: the caller was cancelled; the task is cancelled without grading first.
    """
    run = Run(task, trace_id=trace_id or new_id(), job_id=job_id, group_id=group_id)
    limit = asyncio.timeout(rollout_timeout)
    try:
        async with limit:
            await _drive(run, agent, runtime)
    except asyncio.CancelledError:
        run.trace.status = "cancelled"
        raise
    except Exception as error:  # noqa: BLE001  any failure is this run's, and never its siblings'
        if limit.expired():
            run.fail(DeadlineError(f"the rollout was not over within {rollout_timeout:g} s"), run.phase)
        else:
            run.fail(error, run.phase)
    finally:
        run._client = None
    return run


async def _drive(run: Run, agent: Agent, provider: Provider) -> None:
    task = run.task
    clock = time.perf_counter
    begun = clock()
    verifier = task.verifier
    same_substrate = verifier is None or (verifier.env == task.env and verifier.runtime_config is None)
    async with provider(task) as placed:
        run.runtime = placed.url
        run.timings.provision = clock() - begun
        async with _connected(run, provider, placed) as client:
            run._client = client
            await _start(run, client, task)
            await _work(run, agent, client)
            grade = await _grade(run, client, task, "grade", run.trace.content)
            if verifier is not None and same_substrate:
                await _start_verifier(run, client, verifier)
                grade = await _grade(run, client, verifier, "verify", grade.raw)
            run._client = None
        if same_substrate:
            run.grade = grade
        begun = clock()
        run.phase = "release"
    run.timings.release = clock() - begun
    if verifier is not None and not same_substrate:
        async with provider(verifier) as placed, _connected(run, provider, placed) as client:
            await _start_verifier(run, client, verifier)
            run.grade = await _grade(run, client, verifier, "verify", grade.raw)


@asynccontextmanager
async def _connected(run: Run, provider: Provider, placed: Any) -> AsyncIterator[Client]:
    """Connect for as long as the rollout lasts; when it is cancelled, cancel the task in the environment too."""
    begun = time.perf_counter()
    run.phase = "connect"
    token = placed.params.get("token")
    ready_timeout_s = getattr(provider, "ready_timeout", _READY_TIMEOUT_S)
    client = await open_client(placed.url, token=token, ready_timeout_s=ready_timeout_s)
    run.timings.connect += time.perf_counter() - begun
    try:
        yield client
    except BaseException as error:
        if not isinstance(error, HudProtocolError):  # after an error reply nothing is started any more
            await _cancel(client)
        raise
    finally:
        await client.close()


async def _cancel(client: Client) -> None:
    try:
        async with asyncio.timeout(_CANCEL_LIMIT_S):
            await client.cancel()
    except (HudError, TimeoutError):
        pass  # the substrate is going away in any case


async def _start(run: Run, client: Client, task: Task) -> None:
    run.phase = "start"
    begun, started_at = time.perf_counter(), time.time()
    frame = await client.start_task(task.id, task.args)
    run.timings.start = time.perf_counter() - begun
    run.prompt = frame["prompt"]
    bindings = frame.get("bindings") or {}
    if not isinstance(bindings, dict) or not all(isinstance(value, dict) for value in bindings.values()):
        raise HudProtocolError(-32603, "tasks.start: 'bindings' must map capability names to objects")
    run.bindings = bindings
    steps = run.trace.steps
    steps.append(_task_step("setup", task, frame, started_at))
    steps.append(Step(source="user", messages=run.prompt_messages, started_at=time.time()))


async def _start_verifier(run: Run, client: Client, verifier: Task) -> None:
    run.phase = "verify"
    started_at = time.time()
    frame = await client.start_task(verifier.id, verifier.args)
    run.record(_task_step("setup", verifier, frame, started_at))


async def _grade(run: Run, client: Client, task: Task, phase: Phase, answer: Any) -> Grade:
    run.phase = phase
    begun, started_at = time.perf_counter(), time.time()
    frame = await client.grade({"answer": answer})
    elapsed = time.perf_counter() - begun
    setattr(run.timings, phase, elapsed)
    run.trace.steps.append(_task_step("evaluate", task, frame, started_at))
    return Grade.from_frame(frame)


def _task_step(phase: str, task: Task, result: dict[str, Any], started_at: float) -> Step:
    call = {"phase": phase, "name": task.id, "arguments": task.args, "result": result}
    return Step(source="task", task_call=call, started_at=started_at, ended_at=time.time())


async def _work(run: Run, agent: Agent, client: Client) -> None:
    """Let the agent work, with the channel kept alive; what it raises is noted, and grading goes on."""
    run.phase = "agent"
    begun = time.perf_counter()
    timeout_s = (run.task.agent_config or {}).get("timeout_seconds")
    limit = asyncio.timeout(timeout_s)
    heart = _Heart(client, limit)
    try:
        async with limit:
            try:
                answer = await agent(run)
            finally:
                heart.stop()
        if run.trace.content is None and answer is not None:
            run.trace.content = answer
    except TimeoutError as error:
        if heart.error is not None:
            raise heart.error from error
        if not limit.expired():
            run.fail(error, "agent")
        else:
            run.fail(error, "agent", message=f"the agent was not done within {timeout_s:g} s")
            run.trace.stop_reason = "timeout"
    except Exception as error:  # noqa: BLE001  the agent's failure is noted, and the task graded all the same
        run.fail(error, "agent", message=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    run.timings.agent = time.perf_counter() - begun


class _Heart:
    """Says hello every two minutes while the agent works; a channel that does not answer ends the agent's phase."""

    def __init__(self, client: Client, limit: asyncio.Timeout) -> None:
        self._client = client
        self._limit = limit
        self._beating: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_HEARTBEAT_S, self._tick)
        self.error: HudError | None = None

    def _tick(self) -> None:
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        try:
            async with asyncio.timeout(_HEARTBEAT_LIMIT_S):
                await self._client.hello()
        except TimeoutError:
            self.error = DeadlineError(f"the environment did not answer a heartbeat within {_HEARTBEAT_LIMIT_S:g} s")
        except HudError as error:
            self.error = error
        if self.error is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())
        else:
            self._timer = asyncio.get_running_loop().call_later(_HEARTBEAT_S, self._tick)

    def stop(self) -> None:
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()
