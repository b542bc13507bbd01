"""`hud task --image` and `--container`: the whole exchange through the engine's exec API."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud.eval.runtimes import docker_engine, ownership
from tests import bench
from tests.hud_cli.conftest import Hud

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

RIGHT = "return sum(numbers) / len(numbers)"


@pytest.fixture
def image(template_image: Callable[[str], str]) -> str:
    return template_image("blank")


@pytest.fixture
def container(image: str) -> Iterator[str]:
    name = docker_engine.run_detached(image, kept=False)
    yield name
    docker_engine.remove(name)


def containers_of(image: str) -> list[str]:
    rows = docker_engine.list_labelled(ownership.OWNER_LABEL)
    return [row.name for row in rows if row.image == image]


def test_start_leaves_a_container_that_grade_uses(hud: Hud, image: str) -> None:
    started = hud("task", "start", "fix_bug", "--image", image)
    assert started.code == 0, started.err
    assert started.out.startswith("One operator in this function is wrong.")
    (name,) = [line.removeprefix("Container: ") for line in started.err.splitlines() if line.startswith("Container: ")]
    try:
        assert hud("task", "grade", "fix_bug", "--container", name, "--answer", RIGHT).out == "1.0\n"
        again = hud("task", "run", "fix_bug", "--container", name, "--answer", "wrong", "--json")
        assert json.loads(again.out)["score"] == 0.0
    finally:
        docker_engine.remove(name)


@pytest.mark.parametrize(("answer", "score"), [(RIGHT, "1.0\n"), ("wrong", "0.0\n")])
def test_run_starts_grades_and_removes(hud: Hud, image: str, answer: str, score: str) -> None:
    before = containers_of(image)
    done = hud("task", "run", "fix_bug", "--image", image, "--answer", answer)
    assert (done.code, done.out) == (0, score)
    assert containers_of(image) == before


def test_arguments_and_text_go_through_unchanged(hud: Hud, container: str) -> None:
    args = json.dumps({"sentence": "Übung -- 'ü' \"ü\"\n$ü", "letter": "ü"})
    done = hud("task", "run", "count", "--container", container, "--args", args, "--answer", "4")
    assert (done.code, done.out) == (0, "1.0\n")


def test_an_answer_of_five_megabytes_passes(hud: Hud, container: str) -> None:
    done = hud("task", "run", "fix_bug", "--container", container, "--answer-file", "-", stdin="ü".encode() * 2_600_000)
    assert (done.code, done.out) == (0, "0.0\n")


def test_out_is_written_on_this_side(hud: Hud, container: str, tmp_path: Path) -> None:
    done = hud("task", "start", "fix_bug", "--container", container, "--out", str(tmp_path / "frame.json"))
    assert (done.code, done.out) == (0, "")
    assert json.loads((tmp_path / "frame.json").read_text())["prompt"].startswith("One operator")


def test_an_error_inside_is_told_as_if_it_were_here(hud: Hud, container: str) -> None:
    done = hud("task", "start", "fix_bgu", "--container", container)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("Error: unknown task: 'fix_bgu'\nHint: did you mean fix_bug?\n")
    report = json.loads(hud("task", "start", "fix_bgu", "--container", container, "--json").out)
    assert report["error"] == "not_found"


def test_flags_of_docker_run_are_passed_on(hud: Hud, image: str) -> None:
    words = ["--image", image, "--run-arg=--read-only", "--run-arg", "--memory=100m", "--run-arg=--tmpfs=/tmp"]
    assert hud("task", "run", "fix_bug", *words, "--answer", RIGHT).out == "1.0\n"
    refused = hud("task", "run", "fix_bug", "--image", image, "--run-arg=--nosuch")
    assert (refused.code, refused.out) == (2, "")
    assert "unknown flag: --nosuch" in refused.err


def test_a_missing_image_says_how_to_build_it(hud: Hud) -> None:
    bench.require_docker()
    done = hud("task", "run", "fix_bug", "--image", "hud-nowhere")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(
        "Error: no image named 'hud-nowhere' on this engine\nHint: docker build -f Dockerfile.hud -t hud-nowhere ."
    )


def test_a_missing_container_is_named(hud: Hud) -> None:
    bench.require_docker()
    done = hud("task", "grade", "fix_bug", "--container", "hud-nowhere")
    assert (done.code, done.err) == (1, "Error: no container named 'hud-nowhere' on this engine\nHint: docker ps -a\n")


def test_an_image_that_exits_at_once_shows_its_last_lines(hud: Hud, image: str) -> None:
    before = containers_of(image)
    done = hud("task", "run", "fix_bug", "--image", image, "--run-arg=--workdir=/")
    assert (done.code, done.out) == (1, "")
    assert "exited with code 1 before its control channel answered; its last lines:\n" in done.err
    assert "no such file or folder: env.py" in done.err
    assert containers_of(image) == before


def test_an_image_without_hud_is_told(hud: Hud) -> None:
    name = docker_engine.run_detached(bench.base_image(), run_args=["--interactive"], kept=False)
    try:
        done = hud("task", "start", "fix_bug", "--container", name)
    finally:
        docker_engine.remove(name)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"Error: container {name!r} has no command 'hud'\nHint: install hud in the image")


def test_an_engine_that_is_down_exits_with_3(hud: Hud) -> None:
    done = hud("task", "start", "fix_bug", "--image", "x", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert (done.code, done.out) == (3, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_removes_the_container(image: str, tmp_path: Path, number: int, code: int) -> None:
    before = set(containers_of(image))
    words = ["task", "run", "fix_bug", "--image", image, "--run-arg=--env=HUD_SERVE_PORT=1", "--timeout", "60"]
    # The image serves 8765 by its own command; the variable makes the command inside look where nothing will answer.
    process = subprocess.Popen(
        [sys.executable, "-m", "hud_cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while not (set(containers_of(image)) - before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert set(containers_of(image)) <= before


def test_in_an_image_nothing_is_said_and_no_address_is_needed(image: str, container: str) -> None:
    """Design, decision 16: exactly the commands of the documentation."""

    def docker_exec(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [bench.require_docker(), "exec", container, "hud", "task", *words], capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    deadline = time.monotonic() + 30  # after a second of waiting a command says what it waits for
    while "HUD_SERVE_PORT=" not in docker_engine.last_lines(container):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    code, out, err = docker_exec("start", "fix_bug")
    assert (code, err) == (0, "")
    assert out.startswith("One operator")
    assert docker_exec("grade", "fix_bug", "--answer", RIGHT) == (0, "1.0\n", "")
    code, out, _ = docker_exec("list")
    assert out.startswith("count-")


def test_in_an_image_a_command_waits_for_slow_hooks(template_image: Callable[[str], str], tmp_path: Path) -> None:
    client = bench.require_docker()
    slow = tmp_path / "env.py"
    slow.write_text(
        "import asyncio\nfrom hud import Environment\nenv = Environment('slow')\n"
        "@env.initialize\nasync def wait():\n    await asyncio.sleep(3)\n"
        "@env.template()\nasync def t():\n    yield 'late'\n    yield 1.0\n"
    )
    name = docker_engine.container_name()
    create = ["create", "--name", name, template_image("blank")]
    try:
        subprocess.run([client, *create], check=True, capture_output=True)
        subprocess.run([client, "cp", slow, f"{name}:/app/env.py"], check=True, capture_output=True)
        subprocess.run([client, "start", name], check=True, capture_output=True)
        done = subprocess.run([client, "exec", name, "hud", "task", "start", "t"], capture_output=True, text=True)
    finally:
        docker_engine.remove(name)
    assert (done.returncode, done.stdout) == (0, "late\n")
    assert done.stderr == "Waiting for an environment at tcp://127.0.0.1:8765, up to 120 s…\n"


@pytest.mark.parametrize(
    "command", [["hud", "serve", "env.py", "--port", "9000"], ["sh", "-c", "sleep 0; hud serve env.py -p9000; true"]]
)
def test_in_an_image_the_port_of_its_own_command_is_found(image: str, command: list[str]) -> None:
    client = bench.require_docker()
    name = docker_engine.container_name()
    try:
        subprocess.run([client, "run", "-d", "--name", name, image, *command], check=True, capture_output=True)
        done = subprocess.run(
            [client, "exec", name, "hud", "task", "grade", "fix_bug", "--answer", RIGHT], capture_output=True, text=True
        )
        log = subprocess.run([client, "logs", name], capture_output=True, text=True)
    finally:
        docker_engine.remove(name)
    assert (done.returncode, done.stdout) == (0, "1.0\n")
    assert "HUD_SERVE_PORT=9000" in log.stdout


def test_in_an_image_that_does_not_serve_the_source_is_started(image: str) -> None:
    done = subprocess.run(
        [bench.require_docker(), "run", "--rm", image, "hud", "task", "run", "fix_bug", "--answer", RIGHT],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "1.0\n")
