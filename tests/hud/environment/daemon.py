"""A daemon behind a capability, which a test plays by hand through plain sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Daemon", "closed_port", "daemon"]

_PATIENCE_S = 20.0


class Daemon:
    """A listening socket; `accept` gives the far end of a tunnel."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(_PATIENCE_S)
        self.port: int = self.listener.getsockname()[1]
        self.streams: list[socket.socket] = []

    def accept(self) -> socket.socket:
        stream, _ = self.listener.accept()
        stream.settimeout(_PATIENCE_S)
        self.streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
        self.listener.close()


@contextmanager
def daemon() -> Iterator[Daemon]:
    served = Daemon()
    try:
        yield served
    finally:
        served.close()


def closed_port() -> int:
    """Give a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def read_exactly(stream: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = stream.recv(min(size, 1 << 20))
        assert part, f"the stream ended {size} bytes early"
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
