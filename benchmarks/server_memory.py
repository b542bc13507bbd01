"""Memory of a serving process: idle, and for each task that is parked or waits on an open connection."""

from __future__ import annotations

import resource
import socket
import sys
import time
from contextlib import ExitStack
from functools import partial

from benchmarks.measure import Command, Figure, in_turns, pss_bytes, quick_asked, report
from benchmarks.parts import BARE_SERVER, ROOT, Server, free_port, peer, say, serving, source_folder

_PARKED_LIMIT_BYTES = 2048
_LIVE_LIMIT_BYTES = 8192
_SETTLE_S = 0.5
_START = b'{"jsonrpc":"2.0","id":1,"method":"tasks.start","params":{"id":"add","args":{"a":4}}}\n'


def main() -> None:
    quick = quick_asked(__doc__)
    parked, live = (400, 200) if quick else (4000, 1500)
    _allow_descriptors(live + 100)
    ours = [sys.executable, "-m", "hud.environment.server", "env.py"]
    with source_folder() as folder, ExitStack() as stack:
        commands: dict[str, Command] = {"bare": [sys.executable, BARE_SERVER], "ours": ours}
        if (python := peer()) is not None:
            commands["peer"] = [python.with_name("hud"), "serve", "env.py", "--port", str(free_port())]
        else:
            say("without the public SDK: scripts/peer-sdk")
        servers = {
            name: stack.enter_context(serving(command, cwd=folder, variables=_VARIABLES.get(name)))
            for name, command in commands.items()
        }
        for server in servers.values():
            _started(server).close()
        time.sleep(_SETTLE_S)
        idle = in_turns({name: partial(_mib, server) for name, server in servers.items()}, repeats=3)
        report(
            Figure(
                name="memory of an idle server",
                unit="MiB",
                ours=min(idle["ours"]),
                against="bare asyncio server",
                reference=min(idle["bare"]),
                target=1.5,
                peer=min(idle["peer"]) if "peer" in idle else None,
            )
        )
        for name, count, limit in (("parked", parked, _PARKED_LIMIT_BYTES), ("live", live, _LIVE_LIMIT_BYTES)):
            each = {side: _bytes_each(servers[side], count, keep=name == "live") for side in servers if side != "bare"}
            report(
                Figure(
                    name=f"memory of each {name} session",
                    unit="bytes",
                    ours=each["ours"],
                    against="the limit",
                    reference=limit,
                    target=1.0,
                    peer=each.get("peer"),
                )
            )


_VARIABLES = {"ours": {"PYTHONPATH": str(ROOT)}}


def _mib(server: Server) -> float:
    return pss_bytes(server.pid) / 2**20


def _bytes_each(server: Server, count: int, *, keep: bool) -> float:
    """Give what a started task adds, when its connection is closed at once or kept; some come before, unmeasured."""
    held = [_started(server, keep=keep) for _ in range(count // 20)]
    time.sleep(_SETTLE_S)
    before = pss_bytes(server.pid)
    held += [_started(server, keep=keep) for _ in range(count)]
    time.sleep(_SETTLE_S)
    each = (pss_bytes(server.pid) - before) / count
    for connection in held:
        connection.close()
    return each


def _started(server: Server, *, keep: bool = False) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(_START)
    reply = connection.recv(65536)
    assert b'"result"' in reply, reply
    if not keep:
        connection.close()
    return connection


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


if __name__ == "__main__":
    main()
