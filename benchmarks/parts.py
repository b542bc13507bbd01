"""What the figures are measured on: interpreters, served environments, images and containers.

The public SDK imports as `hud` too, so it lives in an environment of its own and is only ever a process beside ours,
in a folder of its own. A part that cannot be had is said once, and the figures that need it are left out.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Command, run

__all__ = [
    "BARE_FORK",
    "BARE_LITESTAR",
    "BARE_SERVER",
    "HUD",
    "IN_IMAGE",
    "LOAD",
    "LOCAL_ENVIRONMENT",
    "ROLLOUT_WORKER",
    "ROOT",
    "Server",
    "base_image",
    "docker_client",
    "free_port",
    "image",
    "other_pythons",
    "peer",
    "peer_image",
    "say",
    "scaffold",
    "serving",
    "source_folder",
]

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parent
HUD = Path(sys.executable).with_name("hud")
# Programs of their own, run by path: the folder they lie in holds no `hud`.
BARE_SERVER, BARE_FORK, LOAD = _HERE / "bare_server.py", _HERE / "bare_fork.py", _HERE / "load.py"
BARE_LITESTAR = _HERE / "bare_litestar.py"
IN_IMAGE, ROLLOUT_WORKER = _HERE / "in_image.py", _HERE / "rollout_worker.py"

LOCAL_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    # The public SDK's calls home are no part of what is compared.
    "HUD_CLI_ANALYTICS_ENABLED": "0",
    "HUD_SKIP_VERSION_CHECK": "1",
    "HUD_TELEMETRY_ENABLED": "false",
}
_PEER_REQUIREMENTS = '"hud==0.6.21" "typer>=0.28,<0.29"'
_READY = "HUD_SERVE_PORT="


def say(text: str) -> None:
    """Tell people something that is no figure."""
    print(text, file=sys.stderr, flush=True)


# Interpreters


@functools.cache
def peer() -> Path | None:
    """Give the interpreter of the public SDK's environment, or say that it cannot be had."""
    python = _script("peer-sdk")
    return Path(python) if python else None


@functools.cache
def other_pythons() -> dict[str, Path]:
    """Give the interpreters of other supported versions that are on this machine, by version (`3.12`)."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    found: dict[str, Path] = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in ("3.11", "3.12", "3.13"):
        on_path = shutil.which(f"python{version}")
        candidates = [*sorted(pyenv.glob(f"versions/{version}.*/bin/python")), *([Path(on_path)] if on_path else [])]
        usable = [python for python in candidates if _answers(python)]
        if version != ours and usable:
            found[version] = usable[0]
    return found


def _answers(python: Path) -> bool:
    # A shim on the PATH may be there and refuse to run.
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


# Served environments


@dataclass(frozen=True)
class Server:
    """A serving process and its port."""

    pid: int
    port: int


@contextmanager
def source_folder() -> Iterator[Path]:
    """Give a copy of the served environment, away from this checkout: the public SDK must not find our `hud`."""
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as parent:
        folder = Path(parent) / "figures"
        shutil.copytree(_HERE / "served", folder, ignore=shutil.ignore_patterns("__pycache__"))
        yield folder


@contextmanager
def serving(command: Command, *, cwd: Path, variables: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server for a while; it is ready when it has printed its port."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**LOCAL_ENVIRONMENT, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            ready = next((line for line in process.stdout if line.startswith(_READY)), None)
            if ready is None:
                raise RuntimeError(f"{' '.join(map(str, command))} ended before it served")
            yield Server(process.pid, int(ready.removeprefix(_READY)))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    """Give a port that was free a moment ago, for servers that cannot pick one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# Images


@functools.cache
def docker_client() -> str | None:
    """Give the path of a docker client with BuildKit on a machine whose engine answers, or say why there is none."""
    if not _succeeds("docker-engine", "status"):
        return None
    return _script("docker-engine", "client")


@functools.cache
def base_image() -> str:
    """Give the base image that figures stand on."""
    name = _script("docker-engine", "base-image")
    if name is None:
        raise RuntimeError("no base image: scripts/docker-engine base-image")
    return name


@contextmanager
def scaffold() -> Iterator[Path]:
    """Give a fresh `hud init` folder whose environment is the one that figures serve."""
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as parent:
        run([HUD, "init", "figures", "--template", "blank"], cwd=Path(parent), env=LOCAL_ENVIRONMENT)
        folder = Path(parent) / "figures"
        shutil.copytree(_HERE / "served", folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        yield folder


@contextmanager
def image(folder: Path) -> Iterator[str]:
    """Build a folder's `Dockerfile.hud` as users do, give the tag, and remove it."""
    client, tag = docker_client(), f"hud-figures-{secrets.token_hex(4)}"
    assert client is not None
    run(
        [client, "build", "-f", "Dockerfile.hud", "-t", tag, "--build-arg", f"BASE_IMAGE={base_image()}", "."],
        cwd=folder,
        env={**LOCAL_ENVIRONMENT, "DOCKER_BUILDKIT": "1"},
    )
    try:
        yield tag
    finally:
        run([client, "rmi", "--force", tag])


@contextmanager
def peer_image() -> Iterator[str]:
    """Build an image of the same environment with the public SDK in it; the engine's build cache keeps its layers."""
    with source_folder() as folder:
        (folder / "Dockerfile.hud").write_text(
            "ARG BASE_IMAGE\n"
            "FROM ${BASE_IMAGE}\n"
            "ENV HUD_CLI_ANALYTICS_ENABLED=0 HUD_SKIP_VERSION_CHECK=1 HUD_TELEMETRY_ENABLED=false\n"
            f"RUN python3 -m pip install --no-cache-dir {_PEER_REQUIREMENTS}\n"
            "WORKDIR /app\n"
            "COPY . .\n"
            'CMD ["hud", "serve", "env.py", "--host", "0.0.0.0", "--port", "8765"]\n'
        )
        with image(folder) as tag:
            yield tag


# The project's scripts


def _script(name: str, *arguments: str) -> str | None:
    done = subprocess.run(
        [ROOT / "scripts" / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _succeeds(name: str, *arguments: str) -> bool:
    done = subprocess.run(
        [ROOT / "scripts" / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0
