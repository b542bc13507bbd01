"""What the commands cost: in an image beside starting its Python, on a workstation beside the public SDK's."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Figure, command_cpu_s, in_turns, quick_asked, report, run, wall_s
from benchmarks.parts import (
    HUD,
    IN_IMAGE,
    LOCAL_ENVIRONMENT,
    docker_client,
    image,
    peer,
    say,
    scaffold,
    source_folder,
)

_ANSWER = "6"  # of the row that tasks.py begins with


def main() -> None:
    quick = quick_asked(__doc__)
    client = docker_client()
    if client is None:
        say("without an engine, nothing in an image: scripts/docker-engine up")
    else:
        with scaffold() as folder, image(folder) as tag, _container(client, tag) as container:
            _task_list_in_image(client, container, quick=quick)
            _start_and_grade(client, container, quick=quick)
    python = peer()
    if python is None:
        say("without the public SDK, no comparison with it: scripts/peer-sdk")
        return
    with source_folder() as folder:
        words = {"hud task list": ["task", "list"], "hud --help": ["--help"]}
        for name, target in (("hud task list", 15.0), ("hud --help", 5.0)):
            _beside_peer(name, words[name], target, python.with_name("hud"), folder, quick=quick)


def _task_list_in_image(client: str, container: str, *, quick: bool) -> None:
    done = subprocess.run(
        [client, "exec", "-i", container, "python3", "-", "4" if quick else "30"],
        stdin=IN_IMAGE.open(),
        capture_output=True,
        text=True,
        check=True,
    )
    best = json.loads(done.stdout)
    report(
        Figure(
            name="`hud task list` in an image, processor time",
            unit="ms",
            ours=best["ours"] * 1e3,
            against="`python3 -c pass` there",
            reference=best["pass"] * 1e3,
            target=3.0,
        )
    )


def _start_and_grade(client: str, container: str, *, quick: bool) -> None:
    inside = [client, "exec", container]

    def ours() -> float:
        started = time.perf_counter()
        run([*inside, "hud", "task", "start", "add", "--args", '{"a": 4}'])
        reward = run([*inside, "hud", "task", "grade", "add", "--answer", _ANSWER])
        took_s = time.perf_counter() - started
        assert reward == "1.0", reward
        return took_s

    def bare() -> None:
        for _ in range(2):
            run([*inside, "python3", "-c", "pass"])

    turns = in_turns({"ours": ours, "bare": lambda: wall_s(bare)}, repeats=3 if quick else 25)
    report(
        Figure(
            name="`docker exec … hud task start` and `grade`, wall clock",
            unit="ms",
            ours=min(turns["ours"]) * 1e3,
            against="two `docker exec … python3 -c pass`",
            reference=min(turns["bare"]) * 1e3,
            target=1.5,
        )
    )


def _beside_peer(name: str, words: list[str], target: float, peer_hud: Path, folder: Path, *, quick: bool) -> None:
    def cpu(hud: Path) -> Callable[[], float]:
        return lambda: command_cpu_s([hud, *words], cwd=folder, env=LOCAL_ENVIRONMENT)

    turns = in_turns({"ours": cpu(HUD), "peer": cpu(peer_hud)}, repeats=2 if quick else 6)
    report(
        Figure(
            name=f"`{name}` on a workstation, processor time",
            unit="ms",
            ours=min(turns["ours"]) * 1e3,
            against="the public SDK",
            reference=min(turns["peer"]) * 1e3,
            bound="at least",
            target=target,
        )
    )


@contextmanager
def _container(client: str, tag: str) -> Iterator[str]:
    name = f"hud-figures-{secrets.token_hex(4)}"
    run([client, "run", "-d", "--name", name, tag])
    try:
        for _ in range(100):
            if "1.0" in _tried(client, name):
                break
            time.sleep(0.1)
        yield name
    finally:
        run([client, "rm", "-f", name])


def _tried(client: str, name: str) -> str:
    command = f"hud task start add --args '{{\"a\": 4}}' && hud task grade add --answer {_ANSWER}"
    done = subprocess.run([client, "exec", name, "sh", "-c", command], capture_output=True, text=True, check=False)
    return done.stdout


if __name__ == "__main__":
    main()
