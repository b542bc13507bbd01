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
    free_port,
    other_pythons,
    peer,
    serving,
    source_folder,
)

_TARGETS = {"cycle": 1.7, "list": 2.0, "hello": 2.0}
_NAMES = {"cycle": "a start and grade cycle", "list": "tasks.list", "hello": "hello"}
_MESSAGES_A_TURN = 256


def main() -> None:
    quick = quick_asked(__doc__)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with source_folder() as folder:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        _figures(Path(sys.executable), version, folder, peer_python=peer(), quick=quick)
        for version, python in other_pythons().items():
            _figures(python, version, folder, peer_python=None, quick=quick)


def _figures(python: Path, version: str, folder: Path, *, peer_python: Path | None, quick: bool) -> None:
    ours: Command = [python, "-m", "hud.environment.server", "env.py"]
    with ExitStack() as stack:
        servers = {
            "bare": stack.enter_context(serving([python, BARE_SERVER], cwd=folder)),
            "ours": stack.enter_context(serving(ours, cwd=folder, variables={"PYTHONPATH": str(ROOT)})),
        }
        if peer_python is not None:
            hud = peer_python.with_name("hud")
            theirs: Command = [hud, "serve", "env.py", "--port", str(free_port())]
            servers["peer"] = stack.enter_context(serving(theirs, cwd=folder))
        addresses = [f"{server.pid}:{server.port}" for server in servers.values()]
        for connections in (1, 64):
            for kind, target in _TARGETS.items():
                shape = [kind, connections, _MESSAGES_A_TURN // connections, 5 if quick else 60]
                command: Command = [sys.executable, LOAD, *map(str, shape), *addresses]
                best_ns = map(float, run(command, env=LOCAL_ENVIRONMENT).split())
                best_us = {name: best / 1e3 for name, best in zip(servers, best_ns, strict=True)}
                report(
                    Figure(
                        name=f"{_NAMES[kind]}, {connections} connection{'s' * (connections > 1)}, Python {version}",
                        unit="µs",
                        ours=best_us["ours"],
                        against="bare asyncio server",
                        reference=best_us["bare"],
                        target=target,
                        peer=best_us.get("peer"),
                    )
                )


if __name__ == "__main__":
    main()
