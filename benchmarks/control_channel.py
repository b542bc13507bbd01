"""Processor time that a server spends on a request, beside the least an asyncio server can spend, and the public SDK.

One load generator, in a process of its own, drives all three; the server's time comes from the scheduler's counters.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import Command, Figure, in_turns, quick_asked, report, run
from benchmarks.parts import (
    BARE_SERVER,
    LOAD,
    LOCAL_ENVIRONMENT,
    ROOT,
    Server,
    free_port,
    other_pythons,
    peer,
    say,
    serving,
    source_folder,
)

_TARGETS = {"cycle": 1.7, "list": 2.0, "hello": 2.0}
_NAMES = {"cycle": "a start and grade cycle", "list": "tasks.list", "hello": "hello"}
_MESSAGES = {"cycle": 1600, "list": 2000, "hello": 2000}
_PEER_SHARE = 4  # the public SDK gets a quarter of the load: at its pace the rest says nothing new


def main() -> None:
    quick = quick_asked(__doc__)
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
            command: Command = [hud, "serve", "env.py", "--port", str(free_port())]
            servers["peer"] = stack.enter_context(serving(command, cwd=folder))
        elif version == "3.11":
            say("without the public SDK: scripts/peer-sdk")
        for connections in (1, 64):
            for kind, messages in _MESSAGES.items():
                rounds = messages // connections // (4 if quick else 1)
                loads = {
                    name: _load(server, connections, rounds // (_PEER_SHARE if name == "peer" else 1), kind)
                    for name, server in servers.items()
                }
                best = {name: min(values) for name, values in in_turns(loads, repeats=2 if quick else 7).items()}
                report(
                    Figure(
                        name=f"{_NAMES[kind]}, {connections} connection{'s' * (connections > 1)}, Python {version}",
                        unit="µs",
                        ours=best["ours"],
                        against="bare asyncio server",
                        reference=best["bare"],
                        target=_TARGETS[kind],
                        peer=best.get("peer"),
                    )
                )


def _load(server: Server, connections: int, rounds: int, kind: str) -> Callable[[], float]:
    command: Command = [sys.executable, LOAD, *map(str, (server.pid, server.port, connections, rounds)), kind]
    return lambda: float(run(command, env=LOCAL_ENVIRONMENT)) / 1e3


if __name__ == "__main__":
    main()
