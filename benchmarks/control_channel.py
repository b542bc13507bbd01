"""Processor time that a server spends on a request, beside the least an asyncio server can spend, and the public SDK.

One load generator, in a process of its own, drives all of them in turns; the time comes from the scheduler's counters.
All share one processor: what it costs to wake another one is not the server's.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import Command, Figure, quick_asked, report, run
from benchmarks.parts import (
    BARE_SERVER,
    LOAD,
    LOCAL_ENVIRONMENT,
    ROOT,
    Server,
    free_port,
    other_pythons,
    peer,
    serving,
    source_folder,
)

_TARGETS = {"first": 1.7, "cycle": 1.7, "list": 2.0, "hello": 2.0}
_NAMES = {
    "first": "start and grade, {}, a server's first",
    "cycle": "start and grade, {}, later ones",
    "list": "`tasks.list`, {}",
    "hello": "`hello`, {}",
}
_CONNECTIONS = (1, 64)
_MESSAGES_A_TURN = 256
_VARIABLES = {"ours": {"PYTHONPATH": str(ROOT)}}  # an interpreter that has not installed it finds it there


def main() -> None:
    quick = quick_asked(__doc__)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with source_folder() as folder:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        _figures(Path(sys.executable), version, folder, peer_python=peer(), quick=quick)
        for version, python in other_pythons().items():
            _figures(python, version, folder, peer_python=None, quick=quick)


def _figures(python: Path, version: str, folder: Path, *, peer_python: Path | None, quick: bool) -> None:
    commands: dict[str, Command] = {
        "bare": [python, BARE_SERVER],
        "ours": [python, "-m", "hud.environment.server", "env.py"],
    }
    best_us: dict[tuple[int, str], dict[str, float]] = {
        (connections, kind): {} for kind in _TARGETS for connections in _CONNECTIONS
    }
    # A process keeps for life what it was dealt of memory addresses, worth some per cent: each gets several lives.
    for life in range(2 if quick else 8):
        if peer_python is not None:
            commands["peer"] = [peer_python.with_name("hud"), "serve", "env.py", "--port", str(free_port())]
        with ExitStack() as stack:
            servers = {
                name: stack.enter_context(serving(command, cwd=folder, variables=_VARIABLES.get(name)))
                for name, command in commands.items()
            }
            # A server has its first connections once, so one life begins with one, the next with many.
            first = (_CONNECTIONS[life % 2], "first")
            for load in (first, *(load for load in best_us if load[1] != "first")):
                best = best_us[load]
                for name, us in _measured(servers, *load, turns=4 if quick else 10).items():
                    best[name] = min(best.get(name, us), us)
    for (connections, kind), best in best_us.items():
        report(
            Figure(
                name=f"{_NAMES[kind].format(f'{connections} at once')}, Python {version}",
                unit="µs",
                ours=best["ours"],
                against="bare asyncio server",
                reference=best["bare"],
                target=_TARGETS[kind],
                peer=best.get("peer"),
            )
        )


def _measured(servers: dict[str, Server], connections: int, kind: str, *, turns: int) -> dict[str, float]:
    shape = map(str, (kind, connections, _MESSAGES_A_TURN // connections, turns))
    addresses = [f"{server.pid}:{server.port}" for server in servers.values()]
    each_ns = run([sys.executable, LOAD, *shape, *addresses], env=LOCAL_ENVIRONMENT).split()
    return {name: float(ns) / 1e3 for name, ns in zip(servers, each_ns, strict=True)}


if __name__ == "__main__":
    main()
