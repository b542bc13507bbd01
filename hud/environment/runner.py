"""One started task: a template's generator, suspended between its prompt and its evaluation."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator
from typing import Any

from hud.environment.results import InvalidYield, evaluation_frame, prompt_frame
from hud.environment.template import Template

__all__ = ["CLEANUP_TIMEOUT_S", "Runner", "TaskFailed", "settle"]

CLEANUP_TIMEOUT_S = 5.0
"""How long a template's `finally` blocks may take before a cancel is answered without them."""

_log = logging.getLogger("hud.environment")


class TaskFailed(Exception):
    """The template failed; the text is for the client."""


class Runner:
    """A template's generator with what is needed to resume it.

    Start and grade run in one context, so a context variable that the template sets before its first `yield` still
    holds after it.

    Attributes:
        arguments: As the client gave them, to tell two parked tasks of one template apart.
    """

    __slots__ = ("arguments", "context", "generator", "template")

    def __init__(self, template: Template, arguments: dict[str, Any]) -> None:
        self.template = template
        self.arguments = arguments
        self.generator: AsyncGenerator[Any, Any] = template.open(arguments)
        self.context = contextvars.copy_context()

    async def prompt(self) -> str:
        """Run to the first yield and give the prompt frame as JSON text.

        Raises:
            TaskFailed: the template raised, ended, or yielded no prompt; its generator is closed.
        """
        try:
            return prompt_frame(await self.generator.asend(None), self.template.id)
        except BaseException as error:
            await self.finish()
            if _cancelled_by_us(error):
                raise
            raise self._failure(error, "the template ended without yielding a prompt") from error

    async def evaluation(self, answer: Any) -> str:
        """Send the answer and give the evaluation frame as JSON text; the generator is closed either way.

        Raises:
            TaskFailed: the template raised, ended, or yielded no evaluation.
        """
        try:
            value = await self.generator.asend(self.template.receive(answer))
            frame = evaluation_frame(value, self.template.id)
        except BaseException as error:
            await self.finish()
            if _cancelled_by_us(error):
                raise
            raise self._failure(
                error, f"task '{self.template.id}' ended without an evaluation: yield a score after the prompt"
            ) from error
        await self.finish()
        return frame

    async def finish(self) -> None:
        """Close the generator: its `finally` blocks run; what they raise is logged, not passed on."""
        try:
            await self.generator.aclose()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            _log.warning("cleanup of task %r failed: %r", self.template.id, error)

    async def abandon(self) -> None:
        """Close the generator of a task that will not be graded, for at most `CLEANUP_TIMEOUT_S`."""
        closing = asyncio.get_running_loop().create_task(self.finish(), context=self.context)
        await settle(closing, f"cleanup of task {self.template.id!r}")

    def _failure(self, error: BaseException, ended: str) -> TaskFailed:
        """Put an exception of the template into words for the client."""
        if isinstance(error, StopAsyncIteration):
            return TaskFailed(ended)
        if isinstance(error, InvalidYield):
            return TaskFailed(str(error))
        _log.warning("task %r failed", self.template.id, exc_info=error)
        if isinstance(error, asyncio.CancelledError):
            return TaskFailed("the template cancelled itself")
        if isinstance(error, SystemExit):
            return TaskFailed(f"the template called sys.exit({'' if error.code is None else error.code})")
        return TaskFailed(str(error) or type(error).__name__)


def _cancelled_by_us(error: BaseException) -> bool:
    """Tell a cancellation of the running call from one that the template raised on its own."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def settle(task: asyncio.Task[Any], what: str) -> None:
    """Wait until a task of ours has ended, for at most `CLEANUP_TIMEOUT_S`; then cancel it and go on without it."""
    await asyncio.wait({task}, timeout=CLEANUP_TIMEOUT_S)
    if not task.done():
        _log.warning("%s took more than %g s and is abandoned", what, CLEANUP_TIMEOUT_S)
        task.cancel()
