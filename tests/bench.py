"""The real parts that tests run against: an engine, a base image, the public SDK, PostgreSQL, S3, our own wheel.

A part that cannot be had skips the test with one line on a workstation and fails it where CI=true.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests import postgres_server, s3_server

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


@functools.cache
def _part(name: str) -> tuple[str | None, str]:
    return _script("bench-part", name, *([] if in_ci() else ["--present"]), timeout_s=600)


def _required(name: str) -> str:
    path, said = _part(name)
    if path is None:
        missing(said)
    return path


def require_browser() -> str:
    """Give the path of a Chromium, for Playwright's `executable_path`."""
    return _required("browser")


def require_registry() -> str:
    """Give the path of `docker-registry`, which serves an OCI registry."""
    return _required("registry")


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
def _postgres(programs: Path) -> tuple[str | None, str]:
    return postgres_server.start(programs)


def require_postgres() -> str:
    """Give the address of an empty database on a PostgreSQL server that lives as long as this process."""
    address, said = _postgres(Path(_required("postgresql")).resolve().parent)
    if address is None:
        missing(said)
    import psycopg

    name = f"hud_{uuid.uuid4().hex}"
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{address}/{name}"


@functools.cache
def _s3() -> tuple[str | None, str]:
    return s3_server.start()


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """An empty bucket: its address, and the variables by which clients reach it."""

    url: str
    variables: dict[str, str]


def require_bucket() -> Bucket:
    """Give a bucket on an S3 server that lives as long as this process."""
    endpoint, said = _s3()
    if endpoint is None:
        missing(said)
    name = f"hud-{uuid.uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    variables = {**keys, "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    return Bucket(url=f"s3://{name}/some/prefix", variables=variables)


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
