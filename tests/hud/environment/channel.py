"""A served environment and raw sockets to it: what the tests of the control channel stand on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hud.environment import Environment
from hud.environment.channel import PARKED_TTL_S, ControlServer
from hud.environment.server import READY_PREFIX

__all__ = ["LIMIT_BYTES", "Channel", "Peer", "ServedProcess", "padded", "request", "until"]

LIMIT_BYTES = 16_777_216
"""Written out: the tests hold the implementation to the number in the specification."""

_PATIENCE_S = 20.0

T = TypeVar("T")


def request(method: str, params: object = None, *, id: object = 1) -> bytes:
    """Write one request frame."""
    frame: dict[str, object] = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        frame["params"] = params
    return json.dumps(frame).encode() + b"\n"


def padded(frame: bytes, size: int) -> bytes:
    """Blow a frame up with inner white space to exactly `size` bytes before its line feed."""
    body = frame.rstrip(b"\n")
    return body[:-1] + b" " * (size - len(body)) + b"}\n"


def until(condition: Callable[[], object], *, timeout_s: float = _PATIENCE_S) -> None:
    """Wait until a condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)


class Peer:
    """One raw connection to a control channel."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self.buffer = b""
        self._last_id = 0

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def line(self) -> bytes:
        """Read up to and with the next line feed; fail when the stream ends before one."""
        parts = [self.buffer]
        while b"\n" not in parts[-1]:
            chunk = self.socket.recv(1 << 20)
            assert chunk, f"the stream ended inside a frame: {b''.join(parts)[:200]!r}"
            parts.append(chunk)
        line, _, self.buffer = b"".join(parts).partition(b"\n")
        return line + b"\n"

    def frame(self) -> dict[str, Any]:
        frame = json.loads(self.line())
        assert isinstance(frame, dict)
        return frame

    def call(self, method: str, params: object = None) -> dict[str, Any]:
        """Send a request with the next integer id and give the reply to it, whatever it is."""
        self._last_id += 1
        self.send(request(method, params, id=self._last_id))
        frame = self.frame()
        assert frame["id"] == self._last_id
        return frame

    def result(self, method: str, params: object = None) -> dict[str, Any]:
        frame = self.call(method, params)
        assert "result" in frame, frame
        result = frame["result"]
        assert isinstance(result, dict)
        return result

    def error(self, method: str, params: object = None) -> tuple[int, str]:
        """Give code and message of the error a call is answered with."""
        return error_of(self.call(method, params))

    def start(self, task_id: str, args: dict[str, Any] | None = None) -> Any:
        return self.result("tasks.start", {"id": task_id, "args": args or {}})["prompt"]

    def grade(self, answer: object) -> dict[str, Any]:
        return self.result("tasks.grade", {"answer": answer})

    def session_id(self) -> str:
        return str(self.result("hello")["session_id"])

    def rest(self) -> bytes:
        """Read to the end of the stream."""
        parts = [self.buffer]
        self.buffer = b""
        while chunk := self.socket.recv(1 << 20):
            parts.append(chunk)
        return b"".join(parts)

    def is_silent(self, seconds: float = 0.15) -> bool:
        """Tell whether nothing arrives for a while, and the connection stays open."""
        self.socket.settimeout(seconds)
        try:
            return not self.buffer and not self.socket.recv(1, socket.MSG_PEEK) and False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(_PATIENCE_S)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


def error_of(frame: dict[str, Any]) -> tuple[int, str]:
    assert set(frame["error"]) == {"code", "message"}, frame
    return frame["error"]["code"], frame["error"]["message"]


class Channel:
    """A control server in this process, on an event loop and a thread of its own."""

    def __init__(
        self, environment: Environment, *, token: str | None = None, parked_ttl_s: float = PARKED_TTL_S
    ) -> None:
        self.environment = environment
        self.peers: list[Peer] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

        async def listen() -> tuple[ControlServer, int]:
            await environment.start()
            server = ControlServer(environment, token=token, parked_ttl_s=parked_ttl_s)
            return server, await server.listen("127.0.0.1", 0)

        self.server, self.port = self.run(listen())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop and give its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_PATIENCE_S)

    def connect(self) -> Peer:
        peer = Peer(self.port)
        self.peers.append(peer)
        return peer

    def settled(self) -> None:
        """Wait until the server has noticed that closed peers are gone."""
        open_peers = [peer for peer in self.peers if peer.socket.fileno() >= 0]
        until(lambda: len(self.server.sessions) + len(self.server.strays) <= len(open_peers))

    def parked(self) -> int:
        return len(self.server.parked)

    def stop(self) -> None:
        for peer in self.peers:
            peer.close()
        self.run(self.server.close())
        self.run(self.environment.stop())
        self.run(_rest_is_cancelled())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _rest_is_cancelled() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=1) if tasks else None
    await asyncio.get_running_loop().shutdown_asyncgens()


class ServedProcess:
    """`python -m hud.environment.server` on a source, as runtimes start it."""

    def __init__(self, source: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.source = source
        self.log = source.with_suffix(".stderr")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hud.environment.server", str(source), *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        self.peers: list[Peer] = []
        self.output = b""

    @property
    def port(self) -> int:
        """Wait for the readiness line and give its port."""
        while (ready := self._ready_line()) is None:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, f"the server ended without a readiness line: {self.stderr()}"
            self.output += line
        return int(ready.removeprefix(READY_PREFIX.encode()))

    def _ready_line(self) -> bytes | None:
        return next((line for line in self.output.splitlines() if line.startswith(READY_PREFIX.encode())), None)

    def connect(self) -> Peer:
        peer = Peer(self.port)
        self.peers.append(peer)
        return peer

    def stderr(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if given, and wait for the exit code; what was left on stdout goes to `output`."""
        if number is not None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=_PATIENCE_S)
        self.output += rest
        return self.process.returncode

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=_PATIENCE_S)
