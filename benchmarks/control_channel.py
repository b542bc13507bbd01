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
    "first": "a start and grade cycle, first",
    "cycle": "a start and grade cycle,",
    "list": "`tasks.list`,",
    "hello": "`hello`,",
}
# The first one first: a server has it once.
_LOADS = [(1, "first"), *((connections, kind) for connections in (1, 64) for kind in ("cycle", "list", "hello"))]
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
    best_us: dict[tuple[int, str], dict[str, float]] = {load: {} for load in _LOADS}
    # A process keeps for life what it was dealt of memory addresses, worth some per cent: each gets several lives.
    for _ in range(1 if quick else 6):
        if peer_python is not None:
            commands["peer"] = [peer_python.with_name("hud"), "serve", "env.py", "--port", str(free_port())]
        with ExitStack() as stack:
            servers = {
                name: stack.enter_context(serving(command, cwd=folder, variables=_VARIABLES.get(name)))
                for name, command in commands.items()
            }
            for load in _LOADS:
                best = best_us[load]
                for name, us in _measured(servers, *load, turns=5 if quick else 12).items():
                    best[name] = min(best.get(name, us), us)
    for (connections, kind), best in best_us.items():
        report(
            Figure(
                name=f"{_NAMES[kind]} {connections} connection{'s' * (connections > 1)}, Python {version}",
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
