"""Run the figure scripts and write what they found into benchmarks/README.md, between its markers."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from typing import Any

from benchmarks.parts import ROOT, say

_README = ROOT / "benchmarks" / "README.md"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_GROUPS = {
    "commands": "Commands",
    "image_size": "Image",
    "server_memory": "Memory of a serving process",
    "control_channel": "Processor time on the control channel",
    "rollouts": "Rollouts",
    "platform_reads": "Reads from a platform",
    "context": "The context of a build",
    "deploy": "Deploys",
    "build_logs": "Build logs",
    "sync": "Task sync",
    "task_upload": "Task upload",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Measure and rewrite benchmarks/README.md.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"one of {', '.join(_GROUPS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="few repeats; the README stays as it is")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(_GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    figures = {group: _measured(group, quick=options.quick) for group in options.groups or _GROUPS}
    if options.quick or options.groups:
        say("benchmarks/README.md is rewritten by a whole run alone")
    else:
        _rewrite(_page(figures))
    missed = [figure["name"] for rows in figures.values() for figure in rows if figure["met"] is False]
    for name in missed:
        say(f"missed: {name}")
    return 1 if missed and not options.quick else 0


def _measured(group: str, *, quick: bool) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", f"benchmarks.{group}", *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _page(figures: dict[str, list[dict[str, Any]]]) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines = [f"Measured on {today} with Python {platform.python_version()} on {os.cpu_count()} shared processors."]
    for group, rows in figures.items():
        lines += [
            "",
            f"### {_GROUPS[group]}",
            "",
            "| figure | ours | beside | ratio | target | met | the public SDK |",
            "|---|--:|---|--:|--:|---|--:|",
            *map(_row, rows),
        ]
    return "\n".join(lines)


def _row(figure: dict[str, Any]) -> str:
    unit = figure["unit"]
    sign = "≤" if figure["bound"] == "at most" else "≥"
    peer = f"{_number(figure['peer'])} {unit}, {figure['peer_ratio']:.2f} ×" if figure["peer"] is not None else ""
    cells = [
        figure["name"],
        f"{_number(figure['ours'])} {unit}",
        f"{figure['against']}, {_number(figure['reference'])} {unit}",
        f"{figure['ratio']:.2f} ×",
        f"{sign} {figure['target']:g} ×" if figure["target"] is not None else "",
        {None: "", True: "yes", False: "**no**"}[figure["met"]],
        peer,
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _rewrite(page: str) -> None:
    text = _README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    beside = _README.with_suffix(".md.new")
    beside.write_text(f"{before}{_BEGIN}\n\n{page}\n\n{_END}{after}")
    beside.replace(_README)


if __name__ == "__main__":
    sys.exit(main())
