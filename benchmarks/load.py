"""The load on a server: blocking sockets in a process of their own, as lean as they can be.

`python load.py PID PORT CONNECTIONS ROUNDS KIND` sends each connection's message, then reads each one's reply, and so
on; it prints the nanoseconds of processor time that the server spent on a round of one connection.
KIND is `cycle` (start and grade), `list` or `hello`.
"""

from __future__ import annotations

import os
import socket
import sys
import time

_HELLO = b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{}}\n'
_MESSAGES = {
    "cycle": (
        b'{"jsonrpc":"2.0","id":2,"method":"tasks.start","params":{"id":"add","args":{"a":4}}}\n',
        b'{"jsonrpc":"2.0","id":3,"method":"tasks.grade","params":{"answer":"6"}}\n',
    ),
    "list": (b'{"jsonrpc":"2.0","id":2,"method":"tasks.list","params":{}}\n',),
    "hello": (_HELLO,),
}
_WARM_ROUNDS = 20
_SETTLE_S = 0.02  # what a server does behind its last reply counts too


def main(pid: int, port: int, connections: int, rounds: int, kind: str) -> None:
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for connection in sockets:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for message in (_HELLO, *_MESSAGES[kind]):
        replies = _turn(sockets, message)
        if any(b'"result"' not in reply for reply in replies):
            sys.exit(f"the server answered {replies[0]!r}")
    _drive(sockets, kind, _WARM_ROUNDS)
    before = _cpu_ns(pid)
    _drive(sockets, kind, rounds)
    print((_cpu_ns(pid) - before) / rounds / connections)


def _turn(sockets: list[socket.socket], message: bytes) -> list[bytes]:
    for connection in sockets:
        connection.sendall(message)
    return [connection.recv(65536) for connection in sockets]


def _drive(sockets: list[socket.socket], kind: str, rounds: int) -> None:
    messages = _MESSAGES[kind]
    for _ in range(rounds):
        for message in messages:
            _turn(sockets, message)


def _cpu_ns(pid: int) -> int:
    time.sleep(_SETTLE_S)
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
            total += int(stat.read().split()[0])
    return total


if __name__ == "__main__":
    pid, port, connections, rounds = map(int, sys.argv[1:5])
    main(pid, port, connections, rounds, sys.argv[5])
