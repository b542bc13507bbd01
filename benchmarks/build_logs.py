"""Lines of a build's log on their way from the builder to 50 watchers: how many a second, and how late."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shlex
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from subprocess import PIPE, Popen

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.measure import Command, Figure, quick_asked, report
from benchmarks.parts import HUD, LOCAL_ENVIRONMENT, docker_client, say

_LOUD_DOCKER = Path(__file__).with_name("loud_docker.py")
_WATCHERS = 50
_LINES_A_SECOND = 20_000
_DELAY_LIMIT_MS = 100.0
_PAUSE_S = 3.0  # until all watchers are there
_PRINTED = re.compile(r'"message":"(\d{19}) ')


@dataclass
class _Seen:
    """What one watcher got: how many lines, when the first and the last frame of them came, and how late each was."""

    lines: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)


def main() -> None:
    quick = quick_asked(__doc__)
    if docker_client() is None:
        say("build_logs: without a Docker engine no build begins")
        return
    seconds, turns = (3, 1) if quick else (10, 4)
    late_ms = [_late_ms(_watched(lines=seconds * _LINES_A_SECOND, rate=_LINES_A_SECOND)) for _ in range(turns)]
    report(
        Figure(
            name=f"a log line to each of {_WATCHERS} watchers, {_LINES_A_SECOND:,} a second, late (p99)",
            unit="ms",
            ours=min(late_ms),
            against="the limit",
            reference=_DELAY_LIMIT_MS,
            target=1.0,
        )
    )
    each_s = [_each_s(_watched(lines=seconds * 2 * _LINES_A_SECOND, rate=0)) for _ in range(turns)]
    report(
        Figure(
            name=f"a log line to each of {_WATCHERS} watchers, as fast as they are printed",
            unit="µs",
            ours=min(each_s) * 1e6,
            against=f"the limit, {_LINES_A_SECOND:,} a second",
            reference=1e6 / _LINES_A_SECOND,
            target=1.0,
        )
    )


def _late_ms(watchers: list[_Seen]) -> float:
    """Give the delay that one line in a hundred exceeds, all watchers together."""
    return quantiles([delay for seen in watchers for delay in seen.delays_ms], n=100)[-1]


def _each_s(watchers: list[_Seen]) -> float:
    """Give the time that a line took, of the slowest watcher."""
    return max((seen.last_s - seen.first_s) / seen.lines for seen in watchers)


def _watched(*, lines: int, rate: int) -> list[_Seen]:
    """Run one loud build and watch it; every watcher has to see every line."""
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as folder, _platform(Path(folder), lines, rate) as client:
        build_id = _begin(client)
        url = str(client.base_url).replace("http", "ws", 1).rstrip("/")
        key = client.headers["Authorization"].removeprefix("Bearer ")
        seen = asyncio.run(_watch_all(f"{url}/v2/builds/{build_id}/logs?api_key={key}"))
    for each in seen:
        if each.lines != lines:
            raise RuntimeError(f"a watcher saw {each.lines} lines of {lines}")
    return seen


async def _watch_all(address: str) -> list[_Seen]:
    return await asyncio.gather(*(_watch(address) for _ in range(_WATCHERS)))


async def _watch(address: str) -> _Seen:
    """Read a log to its end; of a frame, its first line is the latest one, and stands for all of it."""
    seen = _Seen()
    async with connect(address, compression=None, max_size=1 << 20) as socket:
        try:
            async for frame in socket:
                assert isinstance(frame, str)
                printed = _PRINTED.search(frame[:400])
                if printed is None:
                    continue
                seen.last_s = time.time()
                seen.first_s = seen.first_s or seen.last_s
                seen.delays_ms.append((time.time_ns() - int(printed[1])) / 1e6)
                seen.lines += frame.count("\\n") + 1
        except ConnectionClosed:
            pass
    return seen


@contextmanager
def _platform(folder: Path, lines: int, rate: int) -> Iterator[httpx.Client]:
    """Run a platform whose builds are loud, and give a client of it."""
    docker = folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(_LOUD_DOCKER))} "$@"\n')
    docker.chmod(0o755)
    variables = {"LOUD_LINES": str(lines), "LOUD_RATE": str(rate), "LOUD_PAUSE_S": str(_PAUSE_S)}
    variables["PATH"] = f"{docker.parent}:{LOCAL_ENVIRONMENT['PATH']}"
    command: Command = [HUD, "platform", "up", "--json", "--no-settings", "--port", "0", "--data", folder / "data"]
    with Popen(command, env={**LOCAL_ENVIRONMENT, **variables}, stdout=PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            with httpx.Client(base_url=ready["url"], headers={"Authorization": f"Bearer {ready['key']}"}) as client:
                yield client
        finally:
            process.terminate()


def _begin(client: httpx.Client) -> str:
    """Begin a build and give its id."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("Dockerfile.hud"))
    ticket = client.post("/v2/builds/upload-url").raise_for_status().json()
    sent = httpx.put(ticket["upload_url"], content=packed.getvalue(), headers={"Content-Type": "application/gzip"})
    sent.raise_for_status()
    build_id: str = ticket["build_id"]
    client.post("/v2/builds/trigger", json={"build_id": build_id, "name": "loud"}).raise_for_status()
    return build_id


if __name__ == "__main__":
    main()
