"""`SubprocessRuntime`: a fresh interpreter a rollout, for environments that do not survive a fork."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

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
        output = await _Output.open()
        try:
            # The child stops when its standard input ends, so it cannot outlive this process.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hud.environment.server", path, "--env", self.env or task.env, "--lifeline"),
                stdin=asyncio.subprocess.PIPE,
                stdout=output.write_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                cwd=path if os.path.isdir(path) else os.path.dirname(path),
                env=child_environment(),
            )
        except BaseException:
            output.close()
            raise
        output.read_from(process)
        try:
            yield Runtime(f"tcp://127.0.0.1:{await output.port(self.ready_timeout)}")
        finally:
            await completed(_stop(process, output))


class _Output:
    """Reads what a child prints: the readiness line for us, everything else on to our own standard error.

    Through a pipe of our own: asyncio would take the child for alive as long as a process that it started, and that
    inherited its output, is there.
    """

    _process: asyncio.subprocess.Process
    _reading: asyncio.Task[None]
    _watching: asyncio.Task[None]

    def __init__(self, stream: asyncio.StreamReader, pipe: asyncio.ReadTransport, write_end: int) -> None:
        self._stream = stream
        self._pipe = pipe
        self.write_end = write_end
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls) -> Self:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        read_end, write_end = os.pipe()
        file = os.fdopen(read_end, "rb", buffering=0)
        try:
            pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), file)
        except BaseException:
            os.close(write_end)
            file.close()
            raise
        return cls(stream, pipe, write_end)

    def read_from(self, process: asyncio.subprocess.Process) -> None:
        """Begin; the child alone holds the other end from now on."""
        os.close(self.write_end)
        self._process = process
        self._reading = asyncio.create_task(self._read())
        self._watching = asyncio.create_task(self._watch())

    def close(self) -> None:
        """Give it up before it has begun."""
        os.close(self.write_end)
        self._pipe.close()

    async def end(self) -> None:
        """Read what is left, but do not wait for what somebody may write who left the child's process group."""
        await asyncio.wait((self._reading,), timeout=_LAST_OUTPUT_S)
        self._reading.cancel()
        self._watching.cancel()
        await asyncio.gather(self._reading, self._watching, return_exceptions=True)
        self._pipe.close()

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
        rest = b""
        while chunk := await self._stream.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._line(line)
            if len(rest) > _LONGEST_LINE_BYTES:
                self._line(rest)
                rest = b""
        if rest:
            self._line(rest)

    async def _watch(self) -> None:
        code = await self._process.wait()
        await asyncio.wait((self._reading,), timeout=_LAST_OUTPUT_S)
        if not self._port.done():
            error = RuntimeStartError(
                f"the environment ended with exit code {code} before it was ready{self._quoted()}"
            )
            self._port.set_exception(error)
            self._port.exception()  # nobody may be waiting any more

    def _line(self, line: bytes) -> None:
        if not self._port.done() and (port := line.removeprefix(_READY_PREFIX)) != line and port.isdigit():
            self._port.set_result(int(port))
            return
        if not line and not self._port.done():
            return  # it puts one before the readiness line, lest that follows something on the same
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
    await output.end()
    await process.wait()
