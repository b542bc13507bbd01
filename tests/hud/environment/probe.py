"""An environment that shows what a server does with its templates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from hud.environment import Environment

__all__ = ["Probe"]

Steps = AsyncGenerator[Any, Any]


class Probe:
    """The environment, and the journal that its templates write.

    Attributes:
        journal: What happened, in order: `started tag`, `graded tag`, `closed tag`.
        gate: What a gated template waits for; see `open`.
    """

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.gate = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.environment = Environment("probe", version="1.2.3")
        self._declare(self.environment)

    def open(self) -> None:
        """Let the gated templates go on."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.gate.set)

    def _declare(self, env: Environment) -> None:
        journal = self.journal

        @env.template(description="adds")
        async def add(a: int, b: int = 2) -> Steps:
            answer = yield f"What is {a}+{b}?"
            yield float(answer == str(a + b))

        @env.template(id="echo")
        async def _echo() -> Steps:
            answer = yield "say something"
            yield {"score": 1.0, "answer": answer, "kind": type(answer).__name__}

        @env.template()
        async def tagged(tag: str, cleanup_s: float = 0.0) -> Steps:
            try:
                journal.append(f"started {tag}")
                answer = yield {"prompt": tag, "extra": 7}
                journal.append(f"graded {tag}")
                yield {"score": 0.25, "tag": tag, "answer": answer}
            finally:
                if cleanup_s:
                    await asyncio.sleep(cleanup_s)
                journal.append(f"closed {tag}")

        @env.template()
        async def gated(tag: str, where: str) -> Steps:
            try:
                journal.append(f"started {tag}")
                if where == "start":
                    await self.gate.wait()
                yield tag
                journal.append(f"graded {tag}")
                if where == "grade":
                    await self.gate.wait()
                yield 1.0
            finally:
                journal.append(f"closed {tag}")

        @env.template()
        async def prompt_of(size: int) -> Steps:
            try:
                yield "x" * size
                yield 1.0
            finally:
                journal.append("closed prompt_of")

        @env.template()
        async def evaluation_of(size: int) -> Steps:
            try:
                yield "go"
                yield {"score": 1.0, "content": "x" * size}
            finally:
                journal.append("closed evaluation_of")
