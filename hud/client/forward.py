"""Local ports for capabilities: each connection to one becomes a tunnel through the control port (section 7.4)."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from hud.wire import encode_request

__all__ = ["Forwarder"]

_REPLY_LIMIT_BYTES = 1 << 16


class Forwarder:
    """A loopback listener whose connections reach one capability of an environment.

    Attributes:
        url: The capability's address as seen from here: its own, with host and port replaced. A password in it is
            dropped; the user name stays.
    """

    def __init__(self, capability: str, host: str, port: int, *, token: str | None) -> None:
        self._capability = capability
        self._target = (host, port)
        self._token = token
        self._accepting: asyncio.Task[asyncio.Server] | None = None
        self._streams: set[asyncio.Task[None]] = set()
        self.url = ""

    def open(self, url: str) -> None:
        """Listen on a free loopback port and rewrite `url` to it; who connects before the loop runs again waits."""
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        self._accepting = asyncio.get_running_loop().create_task(asyncio.start_server(self._accept, sock=listener))
        parts = urlsplit(url)
        user = f"{parts.username}@" if parts.username else ""
        self.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}"))

    async def close(self) -> None:
        """Stop listening and drop the open streams."""
        if self._accepting is not None:
            (await self._accepting).close()
        for stream in list(self._streams):
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._streams.add(task)
        try:
            await self._tunnel(reader, writer)
        except (OSError, EOFError, ValueError):
            pass  # the local side sees its connection close; there is nobody else to tell
        except asyncio.CancelledError:
            pass  # `close`: the stream ends with the listener
        finally:
            self._streams.discard(task)
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target, limit=_REPLY_LIMIT_BYTES)
        try:
            params = {"capability": self._capability} | ({"token": self._token} if self._token is not None else {})
            far_writer.write(encode_request(1, "tunnel.open", params))
            reply = json.loads(await far_reader.readuntil(b"\n"))
            if "result" not in reply:
                return
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()
