"""A rollout whose agent does nothing, on each local runtime, beside the least it could cost and the public SDK."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Protocol

from benchmarks.measure import Figure, in_turns, quick_asked, report, run, wall_s
from benchmarks.parts import (
    BARE_FORK,
    LOCAL_ENVIRONMENT,
    ROLLOUT_WORKER,
    docker_client,
    image,
    peer,
    peer_image,
    say,
    scaffold,
    source_folder,
)

_EACH = "SECONDS_EACH="

Side = Callable[[], float]
"""Measures one side of a ratio once."""


class Worker(Protocol):
    """Measures rollouts in a process that holds one of the two SDKs; gives seconds a rollout."""

    def __call__(self, what: str, *, count: int, concurrency: int = 1, image: str = "") -> float: ...


def main() -> None:
    quick = quick_asked(__doc__)
    with source_folder() as folder, ExitStack() as stack:
        ours = stack.enter_context(_worker(Path(sys.executable), folder))
        theirs = None
        if (python := peer()) is not None:
            theirs = stack.enter_context(_worker(python, folder))
        else:
            say("without the public SDK: scripts/peer-sdk")
        _live(ours, theirs, quick=quick)
        _forked(ours, theirs, folder, quick=quick)
        _processes(ours, theirs, quick=quick)
        client = docker_client()
        if client is None:
            say("without an engine, no containers: scripts/docker-engine up")
            return
        tag = stack.enter_context(image(stack.enter_context(scaffold())))
        peer_tag = stack.enter_context(peer_image()) if theirs is not None and not quick else None
        _containers(client, ours, theirs, tag, peer_tag, quick=quick)


def _live(ours: Worker, theirs: Worker | None, *, quick: bool) -> None:
    count = 40
    for concurrency in (1, 8):
        turns: dict[str, Side] = {
            "hand": partial(ours, "by hand", count=count),
            "ours": partial(ours, "live", count=count, concurrency=concurrency),
        }
        if theirs is not None:
            turns["peer's hand"] = partial(theirs, "by hand", count=count)
            turns["peer"] = partial(theirs, "live", count=count, concurrency=concurrency)
        best = _best(turns, repeats=2 if quick else 25)
        report(
            Figure(
                name=f"a rollout on a live environment, {concurrency} at once",
                unit="ms",
                ours=best["ours"],
                against="a session by hand over a socket",
                reference=best["hand"],
                target=2.0,
                peer=best.get("peer"),
                peer_reference=best.get("peer's hand"),
            )
        )


def _forked(ours: Worker, theirs: Worker | None, folder: Path, *, quick: bool) -> None:
    count = 20
    turns: dict[str, Side] = {
        "hand": partial(ours, "by hand", count=count),
        "fork": lambda: float(run([sys.executable, BARE_FORK, folder / "env.py", str(count)], env=LOCAL_ENVIRONMENT)),
        "ours": partial(ours, "path", count=count),
    }
    if theirs is not None:
        turns["peer"] = partial(theirs, "path", count=count)
    best = _best(turns, repeats=2 if quick else 25)
    report(
        Figure(
            name='a rollout on LocalRuntime("env.py")',
            unit="ms",
            ours=best["ours"],
            against="a session by hand and a bare fork",
            reference=best["hand"] + best["fork"],
            target=3.0,
            peer=best.get("peer"),
        )
    )


def _processes(ours: Worker, theirs: Worker | None, *, quick: bool) -> None:
    turns: dict[str, Side] = {
        "pass": lambda: wall_s(lambda: run([sys.executable, "-c", "pass"], env=LOCAL_ENVIRONMENT)),
        "ours": partial(ours, "process", count=1),
    }
    best = _best(turns, repeats=4 if quick else 25)
    if theirs is not None:
        sides: dict[str, Side] = {"ours": turns["ours"], "peer": partial(theirs, "process", count=1)}
        beside = _best(sides, repeats=2 if quick else 5)
        best = {**best, "ours": min(best["ours"], beside["ours"]), "peer": beside["peer"]}
    report(
        Figure(
            name="a rollout on SubprocessRuntime",
            unit="ms",
            ours=best["ours"],
            against="starting `python3 -c pass`",
            reference=best["pass"],
            target=10.0,
            peer=best.get("peer"),
        )
    )
    if "peer" in best:
        report(
            Figure(
                name="a rollout on SubprocessRuntime, beside the public SDK",
                unit="ms",
                ours=best["ours"],
                against="the public SDK",
                reference=best["peer"],
                bound="at least",
                target=10.0,
            )
        )


def _containers(
    client: str, ours: Worker, theirs: Worker | None, tag: str, peer_tag: str | None, *, quick: bool
) -> None:
    for concurrency in (1, 4, 8):
        count = concurrency if quick else max(4, 2 * concurrency)
        turns: dict[str, Side] = {
            "bare": partial(_bare_containers, client, tag, count, concurrency),
            "ours": partial(ours, "docker", count=count, concurrency=concurrency, image=tag),
        }
        middle = _middle(turns, repeats=1 if quick else 5)
        peer_s = None
        if theirs is not None and peer_tag is not None:
            peer_s = 1e3 * theirs("docker", count=max(2, concurrency), concurrency=concurrency, image=peer_tag)
        report(
            Figure(
                name=f"a rollout on DockerRuntime, {concurrency} at once",
                unit="ms",
                ours=middle["ours"],
                against="bare `docker run -d` and `docker rm -f`",
                reference=middle["bare"],
                bound="at least",
                target=0.8,
                peer=peer_s,
            )
        )


def _bare_containers(client: str, tag: str, count: int, concurrency: int) -> float:
    def one(_number: int) -> None:
        container = run([client, "run", "-d", tag])
        run([client, "rm", "-f", container])

    with ThreadPoolExecutor(concurrency) as pool:
        return wall_s(lambda: list(pool.map(one, range(count)))) / count


def _best(turns: Mapping[str, Side], *, repeats: int) -> dict[str, float]:
    """Measure in turns and give each side's best, in milliseconds."""
    return {name: 1e3 * min(values) for name, values in in_turns(turns, repeats=repeats).items()}


def _middle(turns: Mapping[str, Side], *, repeats: int) -> dict[str, float]:
    """Measure in turns and give each side's middle repeat, in milliseconds."""
    return {name: 1e3 * median(values) for name, values in in_turns(turns, repeats=repeats).items()}


@contextmanager
def _worker(python: Path, folder: Path) -> Iterator[Worker]:
    with (
        tempfile.TemporaryFile("w+") as said,  # told when it fails; the public SDK says a lot when it does not
        subprocess.Popen(
            [python, ROLLOUT_WORKER],
            cwd=folder,
            env=LOCAL_ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def measured(what: str, *, count: int, concurrency: int = 1, image: str = "") -> float:
            request = {"what": what, "count": count, "concurrency": concurrency, "image": image}
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            answer = next((line for line in answers if line.startswith(_EACH)), None)
            if answer is None:
                process.wait()
                said.seek(0)
                raise RuntimeError(f"{python} ended while it was asked for {request}:\n{said.read()[-2000:]}")
            return float(answer.removeprefix(_EACH))

        yield measured
        requests.close()


if __name__ == "__main__":
    main()
