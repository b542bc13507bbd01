"""Several rollouts on one substrate: for containers that are slow to bring up, such as those with a model on a GPU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from hud.errors import UsageError
from hud.eval.runtimes import Provider, Runtime, opened
from hud.eval.task import Task

__all__ = ["Shared"]


class Shared:
    """Hand each substrate of a provider to up to `width` rollouts at a time.

    Substrates are kept by environment and runtime config, brought up when all that are there are full, and removed
    when the `Shared` is closed. `Taskset.run` opens and closes it; to keep substrates over several jobs, open it
    around them: `async with Shared(DockerRuntime("my-env"), width=8) as shared: …`.
    """

    def __init__(self, provider: Provider, *, width: int) -> None:
        if width < 1:
            raise UsageError(f"width is {width}: give at least 1")
        self._provider = provider
        self._width = width
        self._depth = 0
        self._stack: AsyncExitStack | None = None
        self._substrates: dict[str, list[_Substrate]] = {}

    async def __aenter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self._stack = AsyncExitStack()
            await self._stack.enter_async_context(opened(self._provider))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth or self._stack is None:
            return
        stack, self._stack = self._stack, None
        substrates = [substrate for group in self._substrates.values() for substrate in group]
        self._substrates.clear()
        try:
            await asyncio.gather(*(substrate.close() for substrate in substrates))
        finally:
            await stack.__aexit__(kind, error, trace)

    def __call__(self, task: Task) -> AbstractAsyncContextManager[Runtime]:
        return self._seat(task)

    @asynccontextmanager
    async def _seat(self, task: Task) -> AsyncIterator[Runtime]:
        if self._stack is None:
            raise UsageError("this Shared is not open", hint="async with Shared(…) as shared: …")
        config = task.runtime_config.to_dict() if task.runtime_config is not None else None
        group = self._substrates.setdefault(json.dumps([task.env, config], sort_keys=True), [])
        substrate = next((s for s in group if s.seats < self._width and not s.broken), None)
        if substrate is None:
            substrate = _Substrate(self._provider, task)
            group.append(substrate)
        substrate.seats += 1
        try:
            yield await substrate.runtime()
        finally:
            substrate.seats -= 1
            if substrate.broken and not substrate.seats and substrate in group:
                group.remove(substrate)
                await substrate.close()


class _Substrate:
    """One substrate, held open by a task of its own: a context manager must be left by the task that entered it."""

    def __init__(self, provider: Provider, task: Task) -> None:
        self.seats = 0
        self._ready: asyncio.Future[Runtime] = asyncio.get_running_loop().create_future()
        self._released = asyncio.Event()
        self._holder = asyncio.create_task(self._hold(provider, task))

    @property
    def broken(self) -> bool:
        """Whether it never came up, or has gone."""
        return self._holder.done() or (self._ready.done() and self._ready.exception() is not None)

    async def runtime(self) -> Runtime:
        """Wait until it is up; one waiter that is cancelled does not disturb the others."""
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Remove it."""
        self._released.set()
        if not self._ready.done():
            self._holder.cancel()
        await asyncio.gather(self._holder, return_exceptions=True)
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()

    async def _hold(self, provider: Provider, task: Task) -> None:
        try:
            async with provider(task) as runtime:
                self._ready.set_result(runtime)
                await self._released.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error if isinstance(error, Exception) else RuntimeError("not brought up"))
            else:
                raise
