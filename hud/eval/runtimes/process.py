"""`SubprocessRuntime`: a fresh interpreter a rollout, for environments that do not survive a fork."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from hud.errors import DeadlineError, NotFoundError, RuntimeStartError
from hud.eval.runtimes import Runtime
from hud.eval.runtimes.lifeline import STOP_LIMIT_S, kill_group
from hud.eval.runtimes.teardown import completed
from hud.eval.runtimes.warm_parent import child_environment
from hud.eval.task import Task

__all__ = ["SubprocessRuntime"]

_READY_PREFIX = b"HUD_SERVE_PORT="
_KEPT_LINES = 50
_LONGEST_LINE_BYTES = 1 << 16
_LAST_OUTPUT_S = 0.5


class SubprocessRuntime:
    """Serve a source in a child interpreter of its own for each rollout.

    Args:
        path: The source, a file or folder; it is the child's working directory.
        env: The environment's name in the source; by default the row's.
        ready_timeout: Seconds in which the child has to accept.
    """

    def __init__(self, path: str | os.PathLike[str], *, env: str | None = None, ready_timeout: float = 120.0) -> None:
        self.path = os.fspath(path)
        self.env = env
        self.ready_timeout = ready_timeout

    def __call__(self, task: Task) -> AbstractAsyncContextManager[Runtime]:
        if task.runtime_config is not None:
            task.runtime_config.refuse_unsupported("SubprocessRuntime", supported=())
        return self._child(task)

    @asynccontextmanager
    async def _child(self, task: Task) -> AsyncIterator[Runtime]:
        if not os.path.exists(self.path):
            raise NotFoundError(f"no such file or folder: {self.path}")
        path = os.path.abspath(self.path)
        # The child stops when its standard input ends, so it cannot outlive this process.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hud.environment.server", path, "--env", self.env or task.env, "--lifeline"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd=path if os.path.isdir(path) else os.path.dirname(path),
            env=child_environment(),
        )
        output = _Output(process)
        try:
            yield Runtime(f"tcp://127.0.0.1:{await output.port(self.ready_timeout)}")
        finally:
            await completed(_stop(process, output))


class _Output:
    """Reads what a child prints: the readiness line for us, everything else on to our own standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.reading = asyncio.create_task(self._read())

    async def port(self, timeout_s: float) -> int:
        """Wait for the readiness line.

        Raises:
            RuntimeStartError: the child ended before it; its last lines are in the message.
            DeadlineError: it took longer than `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._port)
        except TimeoutError:
            raise DeadlineError(
                f"the environment was not ready within {timeout_s:g} s{self._quoted()}",
                hint="ready_timeout=… gives it more",
            ) from None

    async def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        rest = b""
        while chunk := await stream.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._line(line)
            if len(rest) > _LONGEST_LINE_BYTES:
                self._line(rest)
                rest = b""
        if rest:
            self._line(rest)
        if not self._port.done():
            code = await self._process.wait()
            error = RuntimeStartError(
                f"the environment ended with exit code {code} before it was ready{self._quoted()}"
            )
            self._port.set_exception(error)
            self._port.exception()  # nobody may be waiting any more

    def _line(self, line: bytes) -> None:
        if not self._port.done() and (port := line.removeprefix(_READY_PREFIX)) != line and port.isdigit():
            self._port.set_result(int(port))
            return
        text = line.decode(errors="replace")
        self._last_lines.append(text)
        try:
            sys.stderr.write(text + "\n")
        except (OSError, ValueError):
            pass  # nobody reads ours; the child is not to be held up by that

    def _quoted(self) -> str:
        return "; it printed:\n" + "\n".join(self._last_lines) if self._last_lines else ""


async def _stop(process: asyncio.subprocess.Process, output: _Output) -> None:
    """Have the child stop, kill it if it does not, and what it started and left behind in any case."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        kill_group(process.pid)
    # What has left the process group may hold on to the pipe: neither that nor its output is waited for.
    await asyncio.wait((output.reading,), timeout=_LAST_OUTPUT_S)
    output.reading.cancel()
    await asyncio.gather(output.reading, return_exceptions=True)
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        pass
