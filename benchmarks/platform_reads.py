"""Processor time that a platform spends on a read, its key checked, beside a bare Litestar handler on the same server.

One process each. A few connections that are kept open send one request after another, and both sides answer in turns;
the time comes from the scheduler's counters.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Figure, quick_asked, report, server_cpu_ns
from benchmarks.parts import BARE_LITESTAR, LOCAL_ENVIRONMENT, ROOT, serving

_CONNECTIONS = 16
_TARGET = 0.5
_READS = {
    "a read of one's identity, key check included": "/v2/auth/me",
    "a read of an environment, key check included": "/v2/registry/{environment}",
}


@dataclass(frozen=True)
class _Side:
    """A server that answers a read, and the request that asks for it."""

    pid: int
    port: int
    request: bytes


def main() -> None:
    quick = quick_asked(__doc__)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # waking another processor is no work of the server
    best_us: dict[str, dict[str, float]] = {name: {} for name in _READS}
    for _ in range(1 if quick else 4):  # a process keeps for life what it was dealt of memory addresses
        with ExitStack() as stack:
            bare = stack.enter_context(serving([sys.executable, BARE_LITESTAR], cwd=ROOT))
            pid, port, key, environment = stack.enter_context(_platform())
            for name, path in _READS.items():
                sides = {
                    "bare": _Side(bare.pid, bare.port, _request("/read", key)),
                    "ours": _Side(pid, port, _request(path.format(environment=environment), key)),
                }
                for _ in range(4 if quick else 15):
                    for which, side in sides.items():
                        us = _cpu_us(side, rounds=20 if quick else 60)
                        best_us[name][which] = min(best_us[name].get(which, us), us)
    for name, best in best_us.items():
        report(
            Figure(
                name=name,
                unit="µs",
                ours=best["ours"],
                against="a bare Litestar handler",
                reference=best["bare"],
                bound="at least",
                target=_TARGET,
            )
        )


@contextmanager
def _platform() -> Iterator[tuple[int, int, str, str]]:
    """Run a platform with one environment; give its process, its port, a key and the environment's id."""
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as folder:
        data = Path(folder) / "data"
        command = [sys.executable, "-m", "hud_cli", "platform", "up", "--port", "0", "--json", "--no-settings"]
        with subprocess.Popen(
            [*command, "--data", data], cwd=ROOT, env=LOCAL_ENVIRONMENT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                ready = json.loads(process.stdout.readline())
                environment = _add_environment(data / "platform.sqlite")
                yield process.pid, int(ready["url"].rpartition(":")[2]), ready["key"], environment
            finally:
                process.terminate()
                process.wait(30)


def _add_environment(database: Path) -> str:
    """Write an environment as a deploy would; a build is no part of what is measured."""
    environment = uuid.uuid4()
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute(
            "INSERT INTO environments (id, project_id, name, declared_name, created_at) "
            "SELECT ?, id, 'figures', 'figures', created_at FROM projects",
            (environment.hex,),
        )
    return str(environment)


def _request(path: str, key: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: figures\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def _cpu_us(side: _Side, *, rounds: int) -> float:
    """Give the processor time of one request, in the mean of `rounds` on each connection."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", side.port))) for _ in range(_CONNECTIONS)
        ]
        for connection in connections:
            _ask(connection, side.request)
        begun = server_cpu_ns(side.pid)
        for _ in range(rounds):
            for connection in connections:
                connection.sendall(side.request)
            for connection in connections:
                _read_reply(connection)
        return (server_cpu_ns(side.pid) - begun) / (rounds * len(connections)) / 1e3


def _ask(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    head = _read_reply(connection)
    if b" 200 " not in head:
        raise RuntimeError(f"{request.partition(bytes([13]))[0]!r} was answered with {head!r}")


def _read_reply(connection: socket.socket) -> bytes:
    """Read one reply to its end and give its first line."""
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += connection.recv(65536)
    head = received[:end].lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(received) < end + 4 + length:
        received += connection.recv(65536)
    return received.partition(b"\r\n")[0]


if __name__ == "__main__":
    main()
