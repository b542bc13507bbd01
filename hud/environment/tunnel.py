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

    def __init__(
        self, transport: asyncio.Transport | None = None, register: set[asyncio.Transport] | None = None
    ) -> None:
        self._transport = transport
        self._register = register
        self._other: Splice | None = None
        self._ended = False
        if register is not None and transport is not None:
            register.add(transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()

    def join(self, other: Splice) -> None:
        """Splice two connected ends and let them flow."""
        self._other, other._other = other, self
        for end in (self, other):
            end._flow(True)

    def write(self, data: bytes | bytearray) -> None:
        """Send bytes out of this end."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close this end after what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        if self._other is None or self._other._ended:
            if self._other is not None:
                self._other.close()
            return False
        self._other._write_eof()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self._ended = True
        if self._register is not None and self._transport is not None:
            self._register.discard(self._transport)
        if self._other is not None:
            self._other.close()

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other._flow(False)

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other._flow(True)

    def _flow(self, on: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _write_eof(self) -> None:
        if self._transport is not None and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()


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
        await asyncio.get_running_loop().create_connection(lambda: end, host, port)
    return end
