"""A TCP proxy before a platform that cuts the connections of build logs where it is told, to the byte."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["CuttingProxy", "before"]

_HEAD_END = b"\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, with a reset


class CuttingProxy:
    """Passes everything on but what `cuts` says.

    Attributes:
        url: The platform's address through this proxy.
        cuts: For the log connections to come, one after the other: the number of bytes after the reply's head after
            which it is cut. Connections that none is left for are passed on whole.
        sent_bytes: For each log connection so far, the bytes after the reply's head.
    """

    def __init__(self, port: int) -> None:
        self.cuts: list[int] = []
        self.sent_bytes: list[int] = []
        self._port = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End every connection and thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in self._open:
            _end(connection)
        for thread in self._threads:
            thread.join()
        for connection in (self._listener, *self._open):
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            for work in (self._up, self._down):
                thread = threading.Thread(target=work, args=(client, server))
                self._threads.append(thread)
                thread.start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        _end(server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        try:
            head = b""
            while _HEAD_END not in head and (data := server.recv(65536)):
                head += data
            if not head.startswith(b"HTTP/1.1 101"):
                client.sendall(head)
                while data := server.recv(65536):
                    client.sendall(data)
            else:
                self._log(client, server, *head.split(_HEAD_END, 1))
        except OSError:
            pass
        _end(client)

    def _log(self, client: socket.socket, server: socket.socket, head: bytes, data: bytes) -> None:
        number = len(self.sent_bytes)
        self.sent_bytes.append(0)
        left = self.cuts.pop(0) if self.cuts else None
        client.sendall(head + _HEAD_END)
        while True:
            client.sendall(data[:left])
            self.sent_bytes[number] += len(data[:left])
            if left is not None and (left := left - len(data)) <= 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                _end(server)
                return
            if not (data := server.recv(65536)):
                return


@contextmanager
def before(url: str, *, cuts: Sequence[int] = ()) -> Iterator[CuttingProxy]:
    """Put a proxy before a platform on this machine."""
    proxy = CuttingProxy(int(url.rpartition(":")[2]))
    proxy.cuts = list(cuts)
    try:
        yield proxy
    finally:
        proxy.close()


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
