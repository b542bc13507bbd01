"""Several rollouts on one substrate: for containers that are slow to bring up, such as those with a model on a GPU."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar

from hud.errors import RuntimeStartError, UnreachableError, UsageError
from hud.eval.runtimes import Provider, Runtime, opened
from hud.eval.runtimes.teardown import Teardown, completed
from hud.eval.task import Task

__all__ = ["Shared"]

_T = TypeVar("_T")

_log = logging.getLogger("hud.eval")


class Shared:
    """Hand each substrate of a provider to up to `width` rollouts at a time.

    Substrates are kept by environment and runtime config, brought up when all that are there are full, replaced when
    they cannot be reached any more, and removed when the `Shared` is closed. `Taskset.run` opens and closes it; to
    keep substrates over several jobs, open it around them:
    `async with Shared(DockerRuntime("my-env"), width=8) as shared: …`.
    """

    def __init__(self, provider: Provider, *, width: int) -> None:
        if not callable(provider):
            raise UsageError(f"Shared takes a runtime, got {provider!r}")
        if width < 1:
            raise UsageError(f"width is {width}: give at least 1")
        self._provider = provider
        self._width = width
        self._teardown = Teardown(begin=self._begin, close=self._close)
        self._opened: _Held[Provider] | None = None
        self._substrates: dict[str, list[_Substrate]] = {}

    def _begin(self) -> None:
        self._opening = asyncio.Lock()
        self._opened = None
        self._substrates = {}

    async def __aenter__(self) -> Self:
        self._teardown.enter()
        try:
            async with self._opening:
                if self._opened is None:
                    opening = _Held(opened(self._provider))
                    try:
                        await opening.value()
                    except BaseException:
                        await completed(opening.close())
                        raise
                    self._opened = opening
        except BaseException:
            await self._teardown.leave()
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._teardown.leave()

    async def _close(self) -> None:
        async with self._opening:
            if self._teardown.users or self._opened is None:
                return
            provider, self._opened = self._opened, None
            substrates = [substrate for group in self._substrates.values() for substrate in group]
            self._substrates.clear()
            await asyncio.gather(*(substrate.held.close() for substrate in substrates))
            await provider.close()

    def __call__(self, task: Task) -> AbstractAsyncContextManager[Runtime]:
        return self._seat(task)

    @asynccontextmanager
    async def _seat(self, task: Task) -> AsyncIterator[Runtime]:
        if self._opened is None:
            raise UsageError("this Shared is not open", hint="async with Shared(…) as shared: …")
        config = task.runtime_config.to_dict() if task.runtime_config is not None else None
        group = self._substrates.setdefault(json.dumps([task.env, config], sort_keys=True), [])
        substrate = next((s for s in group if s.seats < self._width and not s.unusable), None)
        if substrate is None:
            substrate = _Substrate(self._provider(task))
            group.append(substrate)
        substrate.seats += 1
        try:
            yield await substrate.held.value()
        except UnreachableError:
            substrate.lost = True
            raise
        finally:
            substrate.seats -= 1
            if substrate.unusable and not substrate.seats and substrate in group:
                group.remove(substrate)
                await completed(substrate.held.close())


class _Held(Generic[_T]):
    """Something held open by an asyncio task of its own: a context manager must be left by the task that entered it."""

    def __init__(self, context: AbstractAsyncContextManager[_T]) -> None:
        self._value: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._released = asyncio.Event()
        self._holder = asyncio.create_task(self._hold(context))

    @property
    def gone(self) -> bool:
        """Whether it never came up, or has ended."""
        return self._value.done() and (self._value.cancelled() or self._value.exception() is not None)

    async def value(self) -> _T:
        """Wait until it is up; one waiter that is cancelled does not disturb the others."""
        return await asyncio.shield(self._value)

    async def close(self) -> None:
        """Leave it; what goes wrong then is logged, since no rollout is concerned any more."""
        self._released.set()
        if not self._value.done():
            self._holder.cancel()
        await asyncio.wait((self._holder,))
        if not self._holder.cancelled() and (error := self._holder.exception()) is not None:
            _log.warning("what was shared by several rollouts did not end well: %r", error)

    async def _hold(self, context: AbstractAsyncContextManager[_T]) -> None:
        try:
            async with context as value:
                self._value.set_result(value)
                await self._released.wait()
        except BaseException as error:
            if self._value.done():
                raise
            self._value.set_exception(
                error if isinstance(error, Exception) else RuntimeStartError("it was given up before it was ready")
            )
            self._value.exception()  # nobody may be waiting any more


class _Substrate:
    """One substrate and the rollouts on it.

    Attributes:
        lost: Whether a rollout found that it does not answer any more.
    """

    def __init__(self, placing: AbstractAsyncContextManager[Runtime]) -> None:
        self.held = _Held(placing)
        self.seats = 0
        self.lost = False

    @property
    def unusable(self) -> bool:
        """Whether it takes no more rollouts."""
        return self.lost or self.held.gone
