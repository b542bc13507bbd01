"""One started task: a template's generator, in one asyncio task from its prompt to its evaluation.

One task for the whole life, not one a call: what a template opens before its `yield` (a timeout, a task group, a
client that stands on anyio) may only be left by the task that entered it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import Context
from typing import Any

from hud.environment.results import InvalidYield, evaluation_frame, prompt_frame
from hud.environment.template import Template

__all__ = ["CLEANUP_TIMEOUT_S", "Report", "Runner", "settle"]

CLEANUP_TIMEOUT_S = 5.0
"""How long a template's `finally` blocks may take before a cancel is answered without them."""

Report = Callable[["Runner", str | None, str | None], bool]
"""Takes the outcome of a call: its result as JSON text, or why it failed; neither when it was cancelled.

After a start it says whether the task is to wait for its answer.
"""

_CLOSE = object()

_log = logging.getLogger("hud.environment")


class Given(asyncio.Future[Any]):
    """What a started task waits for: `give` has it go on at once, where `set_result` costs a turn of the event loop.

    A turn is a system call and more, a twentieth of what the server does for a start and a grade.
    """

    __slots__ = ("_context", "_wake")

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Context | None = None) -> None:
        self._wake, self._context = fn, context

    def give(self, answer: Any) -> None:
        """Resolve it; unless this is called from within a task, who waited for it has run on when it returns."""
        self.set_result(answer)
        wake = getattr(self, "_wake", None)
        if wake is None:
            return
        loop, context = self.get_loop(), self._context
        if context is not None and asyncio.current_task(loop) is None:
            context.run(wake, self)
        else:
            loop.call_soon(wake, self, context=context)

    def cancel(self, msg: Any = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled and hasattr(self, "_wake"):
            self.get_loop().call_soon(self._wake, self, context=self._context)
        return cancelled


class Runner:
    """A template that was called, from its start to its end.

    Attributes:
        arguments: As the client gave them; with `slug` they tell two parked tasks of one template apart.
        slug: The row it was started as, where the client said so.
        task: Runs the template's generator; done when the generator is closed.
    """

    __slots__ = ("_answer", "_generator", "_report", "arguments", "slug", "task", "template")

    task: asyncio.Task[None]
    _answer: Given
    _report: Report

    def __init__(self, template: Template, arguments: dict[str, Any], *, slug: str | None = None) -> None:
        self.template = template
        self.arguments = arguments
        self.slug = slug
        self._generator: AsyncGenerator[Any, Any] = template.open(arguments)

    def start(self, report: Report, loop: asyncio.AbstractEventLoop, *, previous: Runner | None) -> None:
        """Close `previous`, then run to the first yield, and report the prompt frame."""
        self._report = report
        self._answer = Given(loop=loop)
        if sys.version_info >= (3, 12):  # a template that does not wait is answered without a turn of the loop
            self.task = asyncio.Task(self._live(previous), loop=loop, eager_start=True)
        else:
            self.task = asyncio.Task(self._live(previous), loop=loop)

    def grade(self, report: Report, answer: Any) -> None:
        """Send the answer, close the generator, and report the evaluation frame."""
        self._report = report
        self._answer.give(answer)

    async def close(self) -> None:
        """Close the generator of a task that will not be graded, waiting for at most `CLEANUP_TIMEOUT_S`."""
        if not self._answer.done():
            self._answer.give(_CLOSE)
        await settle(self.task, f"cleanup of task {self.template.id!r}")

    async def _live(self, previous: Runner | None) -> None:
        generator, template_id = self._generator, self.template.id
        try:
            if previous is not None:
                await previous.close()
            prompt = prompt_frame(await self._first(), template_id)
        except BaseException as error:  # noqa: BLE001  whatever the author raised becomes the reply
            failure = self._failure(error, "the template ended without yielding a prompt")
            await self._finish()
            self._report(self, None, failure)
            return
        keep = self._report(self, prompt, None)
        # A parked task may wait for long: it holds neither its prompt nor, through the report, a closed connection.
        del prompt, self._report
        if not keep:
            await self._finish()
            return
        interruption: asyncio.CancelledError | None = None
        answer, early = None, False
        try:
            answer = await self._answer
        except asyncio.CancelledError as error:
            # It is ours, or the template's own: a timeout around its `yield` that ran out before an answer came.
            interruption = error
            early = not self._answer.done() or self._answer.cancelled()
            if early:
                self._answer = Given(loop=asyncio.get_running_loop())
        if answer is _CLOSE:
            await self._finish()
            return
        evaluation = failure = None
        try:
            if interruption is None:
                step = generator.asend(self.template.receive(answer))
            else:
                step = generator.athrow(interruption)
            evaluation = evaluation_frame(await step, template_id)
        except BaseException as error:  # noqa: BLE001  whatever the author raised becomes the reply
            reason = (
                "before it was given an answer" if early else "without an evaluation: yield a score after the prompt"
            )
            failure = self._failure(error, f"task '{template_id}' ended {reason}")
        await self._finish()
        if early:  # what the template made of its interruption is kept for the grade, unless the loop is ending
            if evaluation is None and failure is None:
                return
            if await self._answer is _CLOSE:
                return
        self._report(self, evaluation, failure)

    def _first(self) -> Awaitable[Any]:
        """Give the generator's first step, without asking the event loop to close it one day: that is done here."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        step = self._generator.asend(None)
        sys.set_asyncgen_hooks(*hooks)
        return step

    async def _finish(self) -> None:
        """Close the generator: its `finally` blocks run; what they raise is logged, not passed on."""
        try:
            await self._generator.aclose()
        except BaseException as error:  # noqa: BLE001  teardown
            _log.warning("cleanup of task %r failed: %r", self.template.id, error)

    def _failure(self, error: BaseException, ended: str) -> str | None:
        """Put an exception of the template into words for the client; None for a cancellation of ours."""
        if isinstance(error, StopAsyncIteration):
            return ended
        if isinstance(error, InvalidYield):
            return str(error)
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            return None if task is not None and task.cancelling() else "the template cancelled itself"
        _log.warning("task %r failed", self.template.id, exc_info=error)
        if isinstance(error, SystemExit):
            return f"the template called sys.exit({'' if error.code is None else error.code})"
        return str(error) or type(error).__name__


async def settle(task: asyncio.Task[Any], what: str) -> None:
    """Wait until a task of ours has ended, for at most `CLEANUP_TIMEOUT_S`; then cancel it and go on without it."""
    await asyncio.wait({task}, timeout=CLEANUP_TIMEOUT_S)
    if not task.done():
        _log.warning("%s took more than %g s and is abandoned", what, CLEANUP_TIMEOUT_S)
        task.cancel()
