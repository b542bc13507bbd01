"""Capability tunnels: a connection that became a raw stream to a daemon (protocol specification, section 7.2)."""

from __future__ import annotations

import asyncio
from typing import cast

from hud.capabilities import Capability

__all__ = ["CONNECT_TIMEOUT_S", "Splice", "address", "dial"]

CONNECT_TIMEOUT_S = 10.0


class Splice(asyncio.Protocol):
    """One end of a pair of spliced connections: what arrives here leaves at the other end.

    A full write buffer at one end pauses reading at the other; an end of stream travels on as a half-close.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Splice | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def join(self, other: Splice) -> None:
        """Splice two connected ends and let them flow."""
        self.other, other.other = other, self
        for end in (self, other):
            if end.transport is not None and not end.transport.is_closing():
                end.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        other = self.other
        if other is None or other.transport is None:
            return False
        if other._ended:
            other.transport.close()
            return False
        if other.transport.can_write_eof() and not other.transport.is_closing():
            other.transport.write_eof()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self._ended = True
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


def address(capability: Capability) -> tuple[str, int] | None:
    """Give host and port of a capability's daemon, or None when its URL has none."""
    from urllib.parse import urlsplit  # only an environment with capabilities needs it

    try:
        parts = urlsplit(capability.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return None if host is None or port is None else (host, port)


async def dial(host: str, port: int) -> Splice:
    """Connect to a daemon; reading is paused until the two ends are joined.

    Raises:
        OSError: it does not accept within `CONNECT_TIMEOUT_S`.
    """
    end = Splice()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: end, host, port)
    transport.pause_reading()
    return end
