"""A child's tie to its parent: a socket whose end of stream says that the parent is done with it, or dead.

The kernel closes it whatever kills the parent, so no process of ours outlives its owner.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket

__all__ = ["STOP_LIMIT_S", "gone", "kill_group"]

STOP_LIMIT_S = 10.0
"""How long a child may take to run its hooks and end before it is killed."""


async def gone(line: socket.socket) -> bool:
    """Wait until the child at the other end has closed its side; False when it took longer than `STOP_LIMIT_S`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            while await loop.sock_recv(line, 4096):
                pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def kill_group(leader: int) -> None:
    """Kill a child that leads a process group, with everything it started."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass
