"""The warm parent behind `LocalRuntime("env.py")` and its children, seen from the process that runs the job."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Any, Self

from hud.errors import DeadlineError, EnvironmentLoadError, NotFoundError, RuntimeStartError, UsageError
from hud.eval.runtimes.lifeline import STOP_LIMIT_S, Lifeline, kill_group
from hud.eval.runtimes.teardown import completed

__all__ = ["Child", "WarmParent", "child_environment"]

_LONGEST_NAME = 1000
_BUSY_PAUSE_S = 0.005
_CLOCK_TICK_NS = 20_000_000
"""By how much a file's time may be behind the clock."""


class WarmParent:
    """The process of `hud.eval.runtimes.forkserver`: it has imported a source, and forks a child a rollout."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket, source: str) -> None:
        self._process = process
        self._control = control
        self._lifeline = Lifeline(control)
        self._source = source
        self._stamps: dict[str, object] = {}
        self._users = 0
        self._last_number = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @classmethod
    async def open(cls, path: str, *, ready_timeout_s: float) -> Self:
        """Start the process and have it import the source.

        Raises:
            NotFoundError: there is no such source, or no environment in it.
            EnvironmentLoadError: it fails while it is imported.
            RuntimeStartError: it starts threads while it is imported, or ends the process.
            DeadlineError: it took longer than `ready_timeout_s`.
        """
        if not os.path.exists(path):
            raise NotFoundError(f"no such file or folder: {path}")
        source = os.path.abspath(path)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "hud.eval.runtimes.forkserver", source, str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                    cwd=source if os.path.isdir(source) else os.path.dirname(source),
                    env=child_environment(),
                )
        except BaseException:
            ours.close()
            raise
        parent = cls(process, ours, source)
        try:
            await parent._loaded(path, ready_timeout_s)
        except BaseException:
            await completed(parent._kill())
            raise
        return parent

    async def _loaded(self, path: str, ready_timeout_s: float) -> None:
        reply = await _reply(self._lifeline, ready_timeout_s, f"the environment in {path}")
        if "error" in reply:
            raise EnvironmentLoadError(reply["error"], hint=reply["hint"])
        if reply["threads"] > 1:
            raise RuntimeStartError(
                f"{path} starts threads while it is imported, which do not survive a fork",
                hint="use SubprocessRuntime, or start them in an @env.initialize hook",
            )
        for path in (self._source, *reply["files"]):
            stamp = _stamp(path)
            # One that changed while it was being imported may have been read before: it is stale at once.
            edited = isinstance(stamp, tuple) and stamp[0] > reply["began_ns"] - _CLOCK_TICK_NS
            self._stamps[path] = "edited" if edited else stamp

    def stale(self) -> bool:
        """Whether a file it imported has changed, a folder's sources have, or it has died."""
        if self._process.returncode is not None:
            return True
        return any(_stamp(file) != stamp for file, stamp in self._stamps.items())

    async def fork(self, environment: str) -> Child:
        """Have a child serve one environment; the caller is to `close` it.

        Raises:
            RuntimeStartError: the process has died.
        """
        if len(environment) > _LONGEST_NAME:
            raise UsageError(f"an environment's name has {len(environment)} characters: {environment[:40]}…")
        self._last_number += 1
        request = json.dumps({"serve": environment, "number": self._last_number}).encode() + b"\n"
        self._users += 1
        self._unused.clear()
        ours, theirs = socket.socketpair()
        child = Child(self, Lifeline(ours), environment, number=self._last_number)
        try:
            with theirs:
                while True:
                    try:
                        socket.send_fds(self._control, [request], [theirs.fileno()])
                        break
                    except BlockingIOError:  # hundreds of requests are waiting to be read
                        await asyncio.sleep(_BUSY_PAUSE_S)
        except BaseException as error:
            await completed(child.close())
            if isinstance(error, OSError):
                raise RuntimeStartError(
                    f"the process that imported {self._source} is gone", hint="its output is above"
                ) from error
            raise
        return child

    def kill(self, number: int) -> None:
        """Have a child killed, with what it started."""
        try:
            self._control.send(json.dumps({"kill": number}).encode() + b"\n")
        except OSError:
            pass  # too busy, or gone: it kills its children at its own end, as does the child's lifeline at ours

    def unuse(self) -> None:
        """A child of it is gone."""
        self._users -= 1
        if not self._users:
            self._unused.set()

    async def retire(self) -> None:
        """End it once its children are gone."""
        try:
            await self._unused.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """End it, and its children with it: those that do not end by themselves are killed, by it."""
        try:
            if await self._lifeline.end(limit_s=STOP_LIMIT_S + 2):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await self._process.wait()
        except TimeoutError:
            pass
        finally:
            await self._kill()

    async def _kill(self) -> None:
        """Kill it, and whatever its import has started and not ended."""
        self._lifeline.close()
        kill_group(self._process.pid)
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await self._process.wait()
        except TimeoutError:
            pass  # something that left the process group holds on to its output


class Child:
    """A forked child that serves one rollout.

    Attributes:
        has_hooks: Whether its environment has hooks, and so may own what the next rollout needs: a port, a device.
    """

    def __init__(self, parent: WarmParent, lifeline: Lifeline, environment: str, *, number: int) -> None:
        self._parent = parent
        self._lifeline = lifeline
        self._environment = environment
        self._number = number
        self._pid: int | None = None
        self.has_hooks = True  # until it says otherwise

    async def ready(self, timeout_s: float) -> int:
        """Wait until it accepts, and give its port.

        Raises:
            RuntimeStartError: it cannot serve that environment, a hook failed, or it ended.
            DeadlineError: it took longer than `timeout_s`.
        """
        reply = await _reply(self._lifeline, timeout_s, f"environment {self._environment!r}")
        if "error" in reply:
            raise RuntimeStartError(reply["error"], hint=reply["hint"])
        self._pid = reply["pid"]
        self.has_hooks = reply["hooks"]
        return int(reply["port"])

    async def close(self) -> None:
        """Have it stop, and kill it if it does not."""
        ended = False
        try:
            ended = await self._lifeline.end()
        finally:
            if not ended:
                self._parent.kill(self._number)
                if self._pid is not None:
                    kill_group(self._pid)
            self._lifeline.close()
            self._parent.unuse()


async def _reply(lifeline: Lifeline, timeout_s: float, who: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(timeout_s):
            reply = await lifeline.receive()
    except TimeoutError:
        raise DeadlineError(
            f"{who} was not ready within {timeout_s:g} s", hint="ready_timeout=… gives it more"
        ) from None
    if reply is None:
        raise RuntimeStartError(f"{who} ended before it was ready", hint="its output is above")
    return reply


def child_environment() -> dict[str, str]:
    """Give a child's variables: ours, with this package importable even where it is not installed."""
    package_folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    if os.path.basename(package_folder) in ("site-packages", "dist-packages"):
        return dict(os.environ)  # it is found as it is; before the standard library it would hide modules of that
    paths = [package_folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _stamp(path: str) -> object:
    """Give what differs when a file was changed, or Python files of a folder have come or gone."""
    try:
        if os.path.isdir(path):
            return sorted(name for name in os.listdir(path) if name.endswith(".py"))
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
