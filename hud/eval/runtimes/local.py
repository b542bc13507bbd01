"""`LocalRuntime`: a path is served by a forked child a rollout, a live object in this process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

from hud.environment.environment import Environment
from hud.environment.server import ControlServer
from hud.errors import DeadlineError, EnvironmentLoadError, NotFoundError, RuntimeStartError, UsageError
from hud.eval.runtimes import Runtime
from hud.eval.runtimes.lifeline import gone, kill_group
from hud.eval.runtimes.teardown import Teardown
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
        self.source = source
        self.env = env
        self.ready_timeout = ready_timeout
        self._parent: _WarmParent | None = None
        self._serving: _Serving | None = None
        self._starting = asyncio.Lock()
        self._seats = asyncio.Semaphore(width)
        self._teardown = Teardown(self._close)

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
        serving, self._serving = self._serving, None
        if serving is not None:
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
            if self._serving is None:
                async with self._starting:
                    if self._serving is None:
                        self._serving = await _Serving.open(environment)
            yield self._serving.runtime

    @asynccontextmanager
    async def _built(self, build: Callable[[Task], Environment], task: Task) -> AsyncIterator[Runtime]:
        serving = await _Serving.open(build(task))
        try:
            yield serving.runtime
        finally:
            await serving.close()

    @asynccontextmanager
    async def _forked(self, path: str, task: Task) -> AsyncIterator[Runtime]:
        async with self._teardown.user():
            parent = await self._warm_parent(path)
            child = await parent.fork(self.env or task.env, self.ready_timeout)
            try:
                yield Runtime(f"tcp://127.0.0.1:{child.port}")
            finally:
                self._teardown.later(child.close())

    async def _warm_parent(self, path: str) -> _WarmParent:
        """Give the parent that has imported the source as it is now."""
        async with self._starting:
            if self._parent is None or self._parent.stale():
                outdated, self._parent = self._parent, None
                if outdated is not None:
                    self._teardown.later(outdated.close())
                self._parent = await _WarmParent.open(path, self.ready_timeout)
            return self._parent


class _Serving:
    """A live environment on a port of this process."""

    def __init__(self, environment: Environment, server: ControlServer, port: int) -> None:
        self._environment = environment
        self._server = server
        self.runtime = Runtime(f"tcp://127.0.0.1:{port}")

    @classmethod
    async def open(cls, environment: Environment) -> _Serving:
        await environment.start()
        server = ControlServer(environment)
        try:
            return cls(environment, server, await server.listen("127.0.0.1", 0))
        except BaseException:
            await environment.stop()
            raise

    async def close(self) -> None:
        await self._server.close()
        await self._environment.stop()


class _WarmParent:
    """The process of `hud.eval.runtimes.forkserver`, seen from here."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket, files: list[str]) -> None:
        self._process = process
        self._control = control
        self._stamps = {file: _stamp(file) for file in files}

    @classmethod
    async def open(cls, path: str, ready_timeout_s: float) -> _WarmParent:
        if not os.path.exists(path):
            raise NotFoundError(f"no such file or folder: {path}")
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hud.eval.runtimes.forkserver", os.path.abspath(path), str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                cwd=path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path)),
                env=child_environment(),
            )
        ours.setblocking(False)
        try:
            reply = await _reply(ours, ready_timeout_s, f"the environment in {path}")
            if "error" in reply:
                raise EnvironmentLoadError(reply["error"], hint=reply["hint"])
            if reply["threads"] > 1:
                raise RuntimeStartError(
                    f"{path} starts threads while it is imported, which do not survive a fork",
                    hint="use SubprocessRuntime, or start them in an @env.initialize hook",
                )
            return cls(process, ours, reply["files"])
        except BaseException:
            ours.close()
            await process.wait()
            raise

    def stale(self) -> bool:
        """Whether a file it imported has changed, or it has died."""
        if self._process.returncode is not None:
            return True
        return any(_stamp(file) != stamp for file, stamp in self._stamps.items())

    async def fork(self, environment: str, ready_timeout_s: float) -> _Child:
        """Have a child forked and wait until it accepts."""
        ours, theirs = socket.socketpair()
        with theirs:
            request = json.dumps({"env": environment}).encode()
            socket.send_fds(self._control, [request], [theirs.fileno()])
        ours.setblocking(False)
        try:
            reply = await _reply(ours, ready_timeout_s, f"environment {environment!r}")
            if "error" in reply:
                raise RuntimeStartError(reply["error"], hint=reply["hint"])
            return _Child(ours, reply["pid"], reply["port"])
        except BaseException:
            ours.close()
            raise

    async def close(self) -> None:
        self._control.close()
        await self._process.wait()


class _Child:
    """A forked child that serves one rollout."""

    def __init__(self, lifeline: socket.socket, pid: int, port: int) -> None:
        self._lifeline = lifeline
        self._pid = pid
        self.port = port

    async def close(self) -> None:
        self._lifeline.shutdown(socket.SHUT_WR)
        if not await gone(self._lifeline):
            kill_group(self._pid)
        self._lifeline.close()


async def _reply(line: socket.socket, timeout_s: float, who: str) -> dict[str, Any]:
    """Read one line of JSON from a child."""
    loop = asyncio.get_running_loop()
    data = b""
    try:
        async with asyncio.timeout(timeout_s):
            while not data.endswith(b"\n"):
                chunk = await loop.sock_recv(line, 1 << 16)
                if not chunk:
                    raise RuntimeStartError(f"{who} ended before it was ready", hint="its output is above")
                data += chunk
    except TimeoutError:
        raise DeadlineError(
            f"{who} was not ready within {timeout_s:g} s", hint="ready_timeout=… gives it more"
        ) from None
    reply: dict[str, Any] = json.loads(data)
    return reply


def child_environment() -> dict[str, str]:
    """Give a child's variables: ours, with this package importable even where it is not installed."""
    package_folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    paths = [package_folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
