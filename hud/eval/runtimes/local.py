"""`LocalRuntime`: a path is served by a forked child a rollout, a live object in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from hud.environment.channel import ControlServer
from hud.environment.environment import Environment
from hud.errors import HudError, UsageError
from hud.eval.runtimes import Runtime
from hud.eval.runtimes.teardown import Teardown, completed
from hud.eval.runtimes.warm_parent import WarmParent
from hud.eval.task import Task

__all__ = ["LocalRuntime"]

_READY_TIMEOUT_S = 120.0


class LocalRuntime:
    """Serve an environment on this machine, without a container.

    Args:
        source: A path: each rollout gets a child process, forked from a parent that has imported the source once
            (and does again after a file changed); a rollout is isolated, can be killed and cannot stall another.
            A live `Environment`: served in this process, `width` rollouts at a time.
            A callable `(task) -> Environment`: built for each rollout and served in this process.
        env: The environment's name in the source; by default the row's.
        ready_timeout: Seconds in which a child has to load, run its hooks and accept.
        width: How many rollouts may share a live environment at once.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Environment | Callable[[Task], Environment],
        *,
        env: str | None = None,
        ready_timeout: float = _READY_TIMEOUT_S,
        width: int = 1,
    ) -> None:
        if not isinstance(source, Environment | str | os.PathLike) and not callable(source):
            raise UsageError(f"LocalRuntime takes a path or an Environment, got {type(source).__name__}")
        if width < 1:
            raise UsageError(f"width is {width}: give at least 1")
        self.source = source
        self.env = env
        self.ready_timeout = ready_timeout
        self.width = width
        self._parent: WarmParent | None = None
        self._failure: _Failure | None = None
        self._serving: _Serving | None = None
        self._teardown = Teardown(begin=self._begin, close=self._close)

    def _begin(self) -> None:
        self._parent = self._failure = self._serving = None
        self._starting = asyncio.Lock()
        self._seats = asyncio.Semaphore(self.width)

    async def __aenter__(self) -> Self:
        self._teardown.enter()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._teardown.leave()

    async def _close(self) -> None:
        parent, self._parent = self._parent, None
        if parent is not None:
            await parent.close()
        async with self._starting:
            serving = self._serving
            if serving is not None and not self._teardown.users:
                self._serving = None
                await serving.close()

    def __call__(self, task: Task) -> AbstractAsyncContextManager[Runtime]:
        if task.runtime_config is not None:
            task.runtime_config.refuse_unsupported("LocalRuntime", supported=())
        if isinstance(self.source, Environment):
            return self._live(self.source)
        if isinstance(self.source, str | os.PathLike):
            return self._forked(os.fspath(self.source), task)
        return self._built(self.source, task)

    @asynccontextmanager
    async def _live(self, environment: Environment) -> AsyncIterator[Runtime]:
        async with self._teardown.user(), self._seats:
            async with self._starting:
                if self._serving is None:
                    self._serving = await _Serving.open(environment)
            yield self._serving.runtime

    @asynccontextmanager
    async def _built(self, build: Callable[[Task], Environment], task: Task) -> AsyncIterator[Runtime]:
        environment: object = build(task)
        if not isinstance(environment, Environment):
            raise UsageError(f"LocalRuntime was given a callable that made a {type(environment).__name__}")
        serving = await _Serving.open(environment)
        try:
            yield serving.runtime
        finally:
            await completed(serving.close())

    @asynccontextmanager
    async def _forked(self, path: str, task: Task) -> AsyncIterator[Runtime]:
        async with self._teardown.user():
            parent = await self._warm_parent(path)
            child = await parent.fork(self.env or task.env)
            try:
                yield Runtime(f"tcp://127.0.0.1:{await child.ready(self.ready_timeout)}")
            finally:
                if child.has_hooks:
                    await completed(child.close())
                else:  # nothing but itself is left, which is no concern of the next rollout
                    self._teardown.later(child.close())

    async def _warm_parent(self, path: str) -> WarmParent:
        """Give the parent that has imported the source as it is now.

        Rollouts that wait for an import share its failure; one that comes later tries again.
        """
        clock = asyncio.get_running_loop().time
        came = clock()
        async with self._starting:
            if self._failure is not None and self._failure.began >= came:
                raise self._failure.again()
            if self._parent is None or self._parent.stale():
                outdated, self._parent = self._parent, None
                if outdated is not None:
                    self._teardown.later(outdated.retire())
                began = clock()
                try:
                    self._parent = await WarmParent.open(path, ready_timeout_s=self.ready_timeout)
                except HudError as error:
                    self._failure = _Failure(began, error)
                    raise
            return self._parent


@dataclass(frozen=True)
class _Failure:
    """An import that failed, and when it began."""

    began: float
    error: HudError

    def again(self) -> HudError:
        return type(self.error)(self.error.message, hint=self.error.hint)


class _Serving:
    """A live environment on a port of this process."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._server = ControlServer(environment)
        self.port = 0

    @classmethod
    async def open(cls, environment: Environment) -> _Serving:
        await environment.start()
        serving = cls(environment)
        try:
            await completed(serving._listen())  # cut short, asyncio would forget the socket
        except BaseException:
            await completed(serving.close())
            raise
        return serving

    async def _listen(self) -> None:
        self.port = await self._server.listen("127.0.0.1", 0)

    @property
    def runtime(self) -> Runtime:
        return Runtime(f"tcp://127.0.0.1:{self.port}")

    async def close(self) -> None:
        await self._server.close()
        await self._environment.stop()
