"""The real parts that tests run against: an engine, a base image, the public SDK, PostgreSQL, our own wheel.

A part that cannot be had skips the test with one line on a workstation and fails it where CI=true.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent

_LONGEST_BASE_IMAGE_S = 900.0  # a base image made by debootstrap over a slow mirror
_LONGEST_BUILD_S = 900.0  # a browser installed from a slow mirror


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def missing(what: str) -> NoReturn:
    """Skip the running test because a part is missing, or fail it in CI; `what` says the part and how to get it."""
    if in_ci():
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def _script(name: str, *arguments: str, timeout_s: float) -> tuple[str | None, str]:
    """Give what a script of the project printed (nothing when it failed) and the last line it said."""
    done = subprocess.run(
        [ROOT / "scripts" / name, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    said = done.stderr.strip().splitlines()
    return (done.stdout.strip() if done.returncode == 0 else None), (said[-1] if said else "")


@functools.cache
def _engine() -> tuple[str | None, str]:
    # A workstation's engine is used when it answers; bringing one up is for CI and for who asks for it.
    return _script("docker-engine", "up" if in_ci() else "status", timeout_s=300)


@functools.cache
def _client() -> tuple[str | None, str]:
    return _script("docker-engine", "client", timeout_s=300)


@functools.cache
def _base_image() -> tuple[str | None, str]:
    return _script("docker-engine", "base-image", timeout_s=_LONGEST_BASE_IMAGE_S)


@functools.cache
def _peer() -> tuple[str | None, str]:
    return _script("peer-sdk", *([] if in_ci() else ["--present"]), timeout_s=600)


def require_docker() -> str:
    """Give the path of a docker client that has BuildKit, on a machine whose engine answers."""
    answered, said = _engine()
    if answered is None:
        missing(f"no Docker engine ({said}); scripts/docker-engine up")
    client, said = _client()
    if client is None:
        missing(said)
    return client


def base_image() -> str:
    """Give the name of a Python base image that is on the engine, made there when none can be pulled."""
    require_docker()
    name, said = _base_image()
    if name is None:
        missing(said)
    return name


def require_peer() -> Path:
    """Give the interpreter of the environment that holds the public SDK; its `hud` command lies beside it."""
    python, said = _peer()
    if python is None:
        missing(said)
    return Path(python)


@functools.cache
def _postgres() -> tuple[str | None, str]:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb", path=os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", "")]))
    if found is None:
        return None, "no PostgreSQL; apt-get install --no-install-recommends postgresql"
    binaries = Path(found).resolve().parent
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="hud-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    made = subprocess.run(
        [binaries / "initdb", "--pgdata", folder, "--username", "hud", "--auth", "trust", "--encoding", "UTF8"]
        + ["--locale", "C.UTF-8", "--no-sync"],
        cwd=folder,
        user=user,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        return None, f"initdb: {made.stderr.strip()[-300:]}"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [binaries / "postgres", "-D", folder, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        + ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off", "-c", "max_connections=200"],
        cwd=folder,
        user=user,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def stop() -> None:
        server.send_signal(signal.SIGINT)  # ends it without waiting for its clients
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    ready = [binaries / "pg_isready", "--host", "127.0.0.1", "--port", str(port), "--timeout", "30"]
    for _ in range(100):
        if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
            return f"postgresql://hud@127.0.0.1:{port}", ""
        time.sleep(0.1)
    return None, "PostgreSQL does not start"


def require_postgres() -> str:
    """Give the address of an empty database on a PostgreSQL server that lives as long as this process."""
    address, said = _postgres()
    if address is None:
        missing(said)
    import psycopg

    name = f"hud_{uuid.uuid4().hex}"
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{address}/{name}"


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel into a folder and give its path."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"},
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def build_image(folder: Path, tag: str, **build_args: str) -> str:
    """Build `Dockerfile.hud` of a folder as users do, on the bench's base image, and give the tag.

    The output of a build that fails is the test's failure message.
    """
    client = require_docker()
    arguments = {"BASE_IMAGE": base_image(), **build_args}
    done = subprocess.run(
        [
            client,
            *("build", "--file", "Dockerfile.hud", "--tag", tag, "--progress", "plain"),
            *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
            ".",
        ],
        cwd=folder,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LONGEST_BUILD_S,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"the image of {folder} does not build:\n{done.stdout[-4000:]}", pytrace=False)
    return tag


def hud(*arguments: str, cwd: Path, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run this project's `hud` command as a user would and give what it did; it may fail."""
    return subprocess.run(
        [Path(sys.executable).with_name("hud"), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
