"""The `hud` command as users run it, a source for it, and a served environment."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench import require_docker
from tests.hud.context.folders import write
from tests.hud_platform.deploying import new_name
from tests.hud_platform.deploying import served as served_files

ENV = '''
import os, sys
from hud import Environment

env = Environment("probe", version="1.2.3")
print("noise on import")
os.system("echo noise of a child >&1")

@env.template(description="Adds two numbers.")
async def add(a: int, b: int = 2):
    answer = yield f"What is {a}+{b}?"
    yield 1.0 if answer.strip() == str(a + b) else 0.0

@env.template()
async def echo():
    """Scores the answer's length."""
    answer = yield {"prompt": "say", "extra": [1, 2]}
    yield {"score": 1, "length": len(answer), "text": answer[:20], "bytes": len(answer.encode())}

@env.template()
async def chat():
    yield [{"role": "user", "content": "grüße"}]
    yield 0.5

@env.template()
async def big():
    yield "x" * 10_000_000
    yield 1.0

@env.template()
async def odd():
    yield "lone \\ud800 surrogate, umlaut \\u00e4"
    yield 1.0
'''

TASKS = """
from env import add, echo
tasks = [add(a=4), add(a=5, b=5), echo()]
"""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str


Hud = Callable[..., Done]


def closed_port() -> int:
    """Give a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Variables in which nothing of this machine's user or of other tests shows."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HUD_", "DOCKER_CONTEXT"))}
    home = tmp_path / "home"
    home.mkdir()
    return {**kept, "HOME": str(home), "HUD_SERVE_PORT": str(closed_port()), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": ""}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with an environment and three rows."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "env.py").write_text(ENV)
    (folder / "tasks.py").write_text(TASKS)
    return folder


@pytest.fixture
def hud(source: Path, variables: dict[str, str]) -> Hud:
    """Run `hud` in the source folder and give what it did."""

    def run(*words: str, cwd: Path = source, stdin: bytes = b"", timeout_s: float = 60.0, **extra: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "hud_cli", *words],
            cwd=cwd,
            input=stdin,
            env={**variables, **extra},
            capture_output=True,
            timeout=timeout_s,
        )
        return Done(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", errors="replace"))

    return run


@dataclass
class Served:
    """A running `hud serve`."""

    process: subprocess.Popen[bytes]
    port: int
    first_line: bytes

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, bytes, bytes]:
        """Send a signal; give the exit code and the rest of both streams."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


Serve = Callable[..., Served]


@pytest.fixture
def serve(source: Path, variables: dict[str, str]) -> Iterator[Serve]:
    """Start `hud serve` on a free port and wait for its readiness line; stopped at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, cwd: Path = source, **extra: str) -> Served:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hud_cli",
                "serve",
                *(words or ("env.py",)),
                *(() if "-p" in words else ("-p", "0")),
            ],
            cwd=cwd,
            env={**variables, **extra},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"hud serve did not start: {process.communicate()[1].decode()}", pytrace=False)
        return Served(process, int(line.removeprefix(b"HUD_SERVE_PORT=")), line)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def served(serve: Serve) -> Served:
    """The environment of the source folder, served."""
    return serve()


@pytest.fixture
def make_environment_folder(tmp_path: Path, wheel: Path) -> Iterator[Callable[..., Path]]:
    """Write the folder of an environment that serves, under a name of its own; its images are removed at the end.

    `steps=` are further steps of its Dockerfile.
    """
    names: list[str] = []

    def write_folder(*, steps: str = "") -> Path:
        names.append(new_name())
        files = served_files(wheel, steps=steps)
        files["env.py"] = files["env.py"].replace(b'"served"', f'"{names[-1]}"'.encode())
        return write(tmp_path / names[-1], files)

    yield write_folder
    for name in names:
        asked = [require_docker(), "images", "--format", "{{.Repository}}:{{.Tag}}", f"hud/{name}"]
        if images := subprocess.check_output(asked, text=True).split():
            subprocess.run([require_docker(), "image", "rm", "--force", *images], capture_output=True)


def read_until(stream: int, text: bytes, *, timeout_s: float = 15.0) -> bytes:
    """Read a stream until `text` has come; give all that came."""
    deadline = time.monotonic() + timeout_s
    seen = b""
    while text not in seen:
        ready, _, _ = select.select([stream], [], [], max(deadline - time.monotonic(), 0))
        chunk = os.read(stream, 65536) if ready else b""
        if not chunk:
            pytest.fail(f"{text!r} did not come; there was {seen!r}", pytrace=False)
        seen += chunk
    return seen
