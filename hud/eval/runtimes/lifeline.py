"""A child's tie to its parent: a socket whose end of stream says that the parent is done with it, or dead.

The kernel closes it whatever kills the parent, so no process of ours outlives its owner.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from typing import Any

__all__ = ["STOP_LIMIT_S", "Lifeline", "kill_group"]

STOP_LIMIT_S = 10.0
"""How long a child may take to run its hooks and end before it is killed."""

_CHUNK_BYTES = 1 << 16


class Lifeline:
    """Our end of the socket: the child writes lines of JSON to it, and ends when it does."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line
        self._read = b""

    async def receive(self) -> dict[str, Any] | None:
        """Give the child's next message; None when it is gone."""
        while b"\n" not in self._read:
            try:
                chunk = await asyncio.get_running_loop().sock_recv(self._line, _CHUNK_BYTES)
            except OSError:
                return None
            if not chunk:
                return None
            self._read += chunk
        message, _, self._read = self._read.partition(b"\n")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    async def end(self, *, limit_s: float = STOP_LIMIT_S) -> bool:
        """Tell the child that we are done, and wait for its end; False when it took longer than `limit_s`."""
        try:
            self._line.shutdown(socket.SHUT_WR)
        except OSError:
            return True
        try:
            async with asyncio.timeout(limit_s):
                while await self.receive() is not None:
                    pass
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Give up the socket."""
        self._line.close()


def kill_group(leader: int) -> None:
    """Kill a child that leads a process group, with everything it started."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone already, or nothing but processes that have taken another user's rights
