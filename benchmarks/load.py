"""The load on servers: blocking sockets in a process of their own, as lean as they can be.

`python load.py KIND CONNECTIONS ROUNDS REPEATS PID:PORT …` takes the servers in turns, a few milliseconds each. A
round sends each connection's message, then reads each one's reply. For each server it prints the processor time of a
round of one connection, in nanoseconds: the best of its turns. KIND is `cycle` (start and grade), `list`, `hello`, or
`first`: cycles on the first connections that a server ever has, where the others have another one come and go before.
"""

from __future__ import annotations

import os
import socket
import sys
import time

_HELLO = b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{}}\n'
_CYCLE = (
    b'{"jsonrpc":"2.0","id":2,"method":"tasks.start","params":{"id":"add","args":{"a":4}}}\n',
    b'{"jsonrpc":"2.0","id":3,"method":"tasks.grade","params":{"answer":"6"}}\n',
)
_MESSAGES = {
    "first": _CYCLE,
    "cycle": _CYCLE,
    "list": (b'{"jsonrpc":"2.0","id":2,"method":"tasks.list","params":{}}\n',),
    "hello": (_HELLO,),
}
_SETTLE_S = 0.003  # what a server does behind its last reply counts too


def main(kind: str, connections: int, rounds: int, repeats: int, servers: list[str]) -> None:
    loads = [_Load(server, connections, first=kind == "first") for server in servers]
    for load in loads:
        load.check(kind)
    best = [float("inf")] * len(loads)
    for _ in range(repeats):
        for number, load in enumerate(loads):
            best[number] = min(best[number], load.cpu_ns(kind, rounds))
    print(*best)


class _Load:
    """Connections to one server."""

    def __init__(self, server: str, connections: int, *, first: bool) -> None:
        pid, port = server.split(":")
        self._threads = f"/proc/{pid}/task"
        if not first:
            # Until a first connection has ended, glibc gives asyncio's read buffer back to the system after each
            # message and asks for it again, which costs a bare server more than all the rest.
            socket.create_connection(("127.0.0.1", int(port))).close()
        self._sockets = [socket.create_connection(("127.0.0.1", int(port))) for _ in range(connections)]
        for connection in self._sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def check(self, kind: str) -> None:
        """Make sure that what is measured succeeds."""
        for message in (_HELLO, *_MESSAGES[kind]):
            for reply in self._turn(message):
                if b'"result"' not in reply:
                    sys.exit(f"a server answered {reply!r}")

    def cpu_ns(self, kind: str, rounds: int) -> float:
        """Give the processor time that a round of one connection takes, all threads of the server together."""
        messages = _MESSAGES[kind]
        before = self._spent_ns()
        for _ in range(rounds):
            for message in messages:
                self._turn(message)
        return (self._spent_ns() - before) / rounds / len(self._sockets)

    def _turn(self, message: bytes) -> list[bytes]:
        for connection in self._sockets:
            connection.sendall(message)
        return [connection.recv(65536) for connection in self._sockets]

    def _spent_ns(self) -> int:
        time.sleep(_SETTLE_S)
        total = 0
        for thread in os.listdir(self._threads):
            with open(f"{self._threads}/{thread}/schedstat") as stat:
                total += int(stat.read().split()[0])
        return total


if __name__ == "__main__":
    connections, rounds, repeats = map(int, sys.argv[2:5])
    main(sys.argv[1], connections, rounds, repeats, sys.argv[5:])
