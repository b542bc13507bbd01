"""What the figures are measured with: processor time, memory, interleaved repeats, and how a figure is told.

Machines are shared and noisy, so nothing here is quoted alone: the sides of a ratio are measured in turns (A B A B)
within one run, and a side's best or middle repeat stands for it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "Command",
    "Figure",
    "children_cpu_s",
    "command_cpu_s",
    "in_turns",
    "pss_bytes",
    "quick_asked",
    "report",
    "run",
    "server_cpu_ns",
    "wall_s",
]

Command = Sequence[str | os.PathLike[str]]
"""A program and its arguments."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One ratio of two things that were measured in the same run.

    Attributes:
        name: What was measured.
        unit: Of `ours`, `reference` and `peer`; less is better in all of them.
        against: What `reference` is: the least it could cost, or the public SDK.
        bound: `at most`: ours / reference may not pass the target. `at least`: reference / ours has to reach it.
        target: The promised ratio, or None for a figure that is only told.
        peer: The public SDK's value, where `against` is something else.
        peer_reference: What the public SDK's value is measured against, where that is not `reference`.
    """

    name: str
    unit: str
    ours: float
    against: str
    reference: float
    bound: Literal["at most", "at least"] = "at most"
    target: float | None = None
    peer: float | None = None
    peer_reference: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.reference if self.bound == "at most" else self.reference / self.ours

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.ratio <= self.target if self.bound == "at most" else self.ratio >= self.target

    @property
    def peer_ratio(self) -> float | None:
        """The public SDK's ratio to its reference."""
        if self.peer is None:
            return None
        reference = self.peer_reference or self.reference
        return self.peer / reference if self.bound == "at most" else reference / self.peer


def report(figure: Figure) -> None:
    """Tell a figure: a line for people on standard error, a line of JSON on standard output."""
    verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
    sign = "≤" if figure.bound == "at most" else "≥"
    target = f"{sign} {figure.target:g} ×" if figure.target is not None else ""
    peer = f"the public SDK: {figure.peer:.3g} ({figure.peer_ratio:.2f} ×)" if figure.peer is not None else ""
    line = (
        f"{figure.name:<58} {figure.ours:>9.4g} {figure.unit:<10} {figure.against} {figure.reference:.4g}: "
        f"{figure.ratio:.2f} × {target:<8} {verdict:<7} {peer}"
    )
    print(line.rstrip(), file=sys.stderr, flush=True)
    document = {**asdict(figure), "ratio": figure.ratio, "met": figure.met, "peer_ratio": figure.peer_ratio}
    print(json.dumps(document, ensure_ascii=False), flush=True)


def quick_asked(description: str | None) -> bool:
    """Parse a figure script's command line: `--quick` asks for few repeats."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few repeats: says whether it runs, not how fast it is")
    return bool(parser.parse_args().quick)


def in_turns(measures: Mapping[str, Callable[[], float]], *, repeats: int) -> dict[str, list[float]]:
    """Measure each side in turn, `repeats` times over, so that a slow moment of the machine meets all of them."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def server_cpu_ns(pid: int) -> int:
    """Give the processor time of a process so far, in nanoseconds, all its threads together."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
            total += int(stat.read().split()[0])
    return total


def pss_bytes(pid: int) -> int:
    """Give the memory of a process, where pages that several processes share are divided among them."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} does not say how much memory it has")


def children_cpu_s() -> float:
    """Give the processor time of all children that were waited for, theirs included."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(command: Command, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command that has to succeed and give what it printed."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout.strip()


def command_cpu_s(command: Command, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> float:
    """Run a command that has to succeed and give the processor time it took."""
    before = children_cpu_s()
    run(command, cwd=cwd, env=env)
    return children_cpu_s() - before


def wall_s(work: Callable[[], object]) -> float:
    """Give how long a call took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
