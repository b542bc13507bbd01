"""One rollout: bring a substrate up, start the task, let the agent work, grade, and leave nothing behind.

Source: command-line and SDK specification, sections 8.1 and 8.2.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

from hud.client.client import Client, open_client
from hud.errors import DeadlineError, HudError, HudProtocolError, UsageError
from hud.eval.job import new_id
from hud.eval.run import Grade, Run, Step
from hud.eval.runtimes import Provider, Runtime
from hud.eval.task import Task

__all__ = ["Agent", "rollout"]

Agent = Callable[[Run], Awaitable[object]]
"""Anything that works on a run: it reads the prompt, acts, and sets `run.trace.content` (or returns the answer)."""

_log = logging.getLogger("hud.eval")

_READY_TIMEOUT_S = 120.0
_CANCEL_LIMIT_S = 2.0
_AGENT_STOP_LIMIT_S = 10.0
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
    stopped = _stop_asked()
    limit = asyncio.timeout(rollout_timeout)
    try:
        async with limit:
            await _drive(run, agent, runtime, limit)
    except asyncio.CancelledError:
        if stopped():
            run.trace.status = "cancelled"
            raise
        run.fail(HudError("the runtime cancelled itself"), run.phase)
    except Exception as error:  # noqa: BLE001  any failure is this run's, and never its siblings'
        if limit.expired():
            run.grade = Grade(is_error=True)
            run.trace.stop_reason = "timeout"
            run.fail(DeadlineError(f"the rollout was not over within {rollout_timeout:g} s"), run.phase)
        else:
            run.fail(error, run.phase)
    finally:
        run._client = None
        run.end()
    return run


def _stop_asked() -> Callable[[], bool]:
    """Give a question for later: was this asyncio task itself cancelled since, or did something in it raise that?"""
    task = asyncio.current_task()
    if task is None:
        return lambda: True
    before = task.cancelling()
    return lambda: task.cancelling() > before


async def _drive(run: Run, agent: Agent, provider: Provider, limit: asyncio.Timeout) -> None:
    task = run.task
    verifier = task.verifier
    same_substrate = verifier is None or (verifier.env == task.env and verifier.runtime_config is None)
    run.enter("provision")
    async with _placing(provider, task) as placed:
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
            _conclude(run, grade, limit)
        run.enter("release")
    if verifier is not None and not same_substrate:
        run.enter("provision")
        async with _placing(provider, verifier) as placed:
            async with _connected(run, provider, placed) as client:
                await _start_verifier(run, client, verifier)
                grade = await _grade(run, client, verifier, "verify", grade.raw)
            _conclude(run, grade, limit)
            run.enter("release")


def _conclude(run: Run, grade: Grade, limit: asyncio.Timeout) -> None:
    """Take the verdict; the deadline does not count what is removed after it."""
    if not limit.expired():
        limit.reschedule(None)
    run.grade = grade
    if grade.is_error:
        said = f": {grade.content}" if grade.content else ""
        run.fail(HudError(f"the environment could not grade the task{said}"), run.phase)


def _placing(provider: Provider, task: Task) -> AbstractAsyncContextManager[Runtime]:
    placing: object = provider(task)
    if isinstance(placing, AbstractAsyncContextManager):
        return placing
    if asyncio.iscoroutine(placing):
        placing.close()
    raise UsageError(
        f"the runtime gave a {type(placing).__name__}, which is no async context manager",
        hint="decorate an async generator function with @contextlib.asynccontextmanager",
    )


@asynccontextmanager
async def _connected(run: Run, provider: Provider, placed: Any) -> AsyncIterator[Client]:
    """Connect for as long as the rollout lasts; when it fails, cancel what it started in the environment too."""
    if not isinstance(placed, Runtime):
        raise UsageError(f"the runtime yielded {placed!r}", hint='yield a Runtime("tcp://HOST:PORT")')
    run.enter("connect")
    run.runtime = placed.url
    token = placed.params.get("token")
    ready_timeout_s = getattr(provider, "ready_timeout", _READY_TIMEOUT_S)
    client = await open_client(placed.url, token=token, ready_timeout_s=ready_timeout_s)
    try:
        yield client
    except BaseException:
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
    run.enter("start")
    started_at = time.time()
    frame = await client.start_task(task.id, task.args)
    run.prompt = frame["prompt"]
    bindings = frame.get("bindings") or {}
    if not isinstance(bindings, dict) or not all(isinstance(value, dict) for value in bindings.values()):
        raise HudProtocolError(-32603, "tasks.start: 'bindings' must map capability names to objects")
    run.bindings = bindings
    run.record(_task_step("setup", task, task.args, frame, started_at))
    if run.prompt is not None:
        run.record(Step(source="user", messages=run.prompt_messages, started_at=time.time()))


async def _start_verifier(run: Run, client: Client, verifier: Task) -> None:
    run.enter("verify")
    started_at = time.time()
    frame = await client.start_task(verifier.id, verifier.args)
    run.record(_task_step("setup", verifier, verifier.args, frame, started_at))


async def _grade(run: Run, client: Client, task: Task, phase: Literal["grade", "verify"], answer: Any) -> Grade:
    run.enter(phase)
    started_at = time.time()
    frame = await client.grade({"answer": answer})
    run.record(_task_step("evaluate", task, {"answer": answer}, frame, started_at))
    return Grade.from_frame(frame)


def _task_step(phase: str, task: Task, arguments: dict[str, Any], result: dict[str, Any], started_at: float) -> Step:
    call = {"phase": phase, "name": task.id, "arguments": arguments, "result": result}
    return Step(source="task", task_call=call, started_at=started_at, ended_at=time.time())


async def _work(run: Run, agent: Agent, client: Client) -> None:
    """Let the agent work, with the channel kept alive; what it raises is noted, and grading goes on."""
    run.enter("agent")
    timeout_s = (run.task.agent_config or {}).get("timeout_seconds")
    # In a task of its own, so that whatever the agent does with a cancellation, its own or ours, ends there.
    working = asyncio.get_running_loop().create_task(_call(agent, run))
    heart = _Heart(client)
    try:
        await asyncio.wait((working, heart.lost), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        in_time = working.done()
        failure = await _ended(working)
    except asyncio.CancelledError:
        await _ended(working)
        raise
    finally:
        heart.stop()
    if heart.lost.done():
        raise heart.lost.result() from failure
    if not in_time:  # it may also have answered, or failed otherwise, while it was being stopped
        run.fail(DeadlineError(f"the agent was not done within {timeout_s:g} s"), "agent")
        run.trace.stop_reason = "timeout"
    elif isinstance(failure, asyncio.CancelledError):
        run.fail(HudError("the agent cancelled itself"), "agent")
    elif isinstance(failure, Exception):
        run.fail(failure, "agent")
    elif failure is not None:
        raise failure


async def _ended(working: asyncio.Task[None]) -> BaseException | None:
    """Stop the agent if it works still, and give what it raised; one that does not stop is left to itself."""
    if not working.done():
        working.cancel()
        await asyncio.wait((working,), timeout=_AGENT_STOP_LIMIT_S)
    if not working.done():
        _log.warning("the agent ignores its cancellation for %g s, and is left behind", _AGENT_STOP_LIMIT_S)
        return None
    return asyncio.CancelledError() if working.cancelled() else working.exception()


async def _call(agent: Agent, run: Run) -> None:
    work: object = agent(run)
    if not isinstance(work, Awaitable):
        raise UsageError(f"the agent gave a {type(work).__name__}, nothing to await", hint="make it an `async def`")
    answer = await work
    if run.trace.content is None and answer is not None:
        run.trace.content = answer


class _Heart:
    """Says hello every two minutes while the agent works; a channel that does not answer ends the agent's phase."""

    def __init__(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        self._client = client
        self._beating: asyncio.Task[None] | None = None
        self._timer = loop.call_later(_HEARTBEAT_S, self._tick)
        self.lost: asyncio.Future[HudError] = loop.create_future()

    def _tick(self) -> None:
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        try:
            async with asyncio.timeout(_HEARTBEAT_LIMIT_S):
                await self._client.hello()
        except TimeoutError:
            silence = f"the environment did not answer a heartbeat within {_HEARTBEAT_LIMIT_S:g} s"
            self.lost.set_result(DeadlineError(silence))
        except HudError as error:
            self.lost.set_result(error)
        else:
            self._timer = asyncio.get_running_loop().call_later(_HEARTBEAT_S, self._tick)

    def stop(self) -> None:
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()
