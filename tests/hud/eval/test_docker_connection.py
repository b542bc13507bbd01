"""Which engine is used, and what its words mean to a user."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from hud.errors import HudError, NotFoundError, RuntimeStartError, UnreachableError, UsageError
from hud.eval.runtimes.docker_connection import Endpoint, build_client, endpoint, engine, explain
from hud.eval.runtimes.docker_launch import split_name


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's Docker configuration with one context, `elsewhere`, that is not in use; no variable chooses another."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"elsewhere").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    host = {"Host": "ssh://me@build-host", "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "elsewhere", "Metadata": {}, "Endpoints": {"docker": host}}))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_without_a_choice_the_default_socket_is_used(docker_config: Path) -> None:
    assert endpoint() == Endpoint("unix:///var/run/docker.sock", "default")


def test_the_current_context_is_used(docker_config: Path) -> None:
    (docker_config / "config.json").write_text('{"currentContext": "elsewhere"}')
    assert endpoint() == Endpoint("ssh://me@build-host", "context elsewhere")


def test_docker_context_is_stronger_than_the_current_one(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (docker_config / "config.json").write_text('{"currentContext": "elsewhere"}')
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert endpoint().source == "default"


def test_docker_host_is_stronger_than_any_context(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    assert endpoint() == Endpoint("tcp://127.0.0.1:2375", "DOCKER_HOST")


def test_a_context_that_does_not_exist_is_named(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    with pytest.raises(UsageError, match="the docker context 'nowhere' does not exist"):
        endpoint()


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("unix:///run/user/1000/podman/podman.sock", True),
        ("npipe:////./pipe/docker_engine", True),
        ("tcp://localhost:2375", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://[::1]:2375", True),
        ("tcp://docker:2375", False),
        ("ssh://localhost", False),
        ("ssh://me@build-host", False),
    ],
)
def test_only_a_local_engine_publishes_on_our_loopback(url: str, is_local: bool) -> None:
    assert Endpoint(url, "DOCKER_HOST").is_local is is_local


def test_an_engine_that_does_not_answer_is_unreachable(
    docker_config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(UnreachableError) as raised:
        engine()
    assert raised.value.message == f"no Docker engine answers at unix://{tmp_path}/none.sock (DOCKER_HOST)"
    assert raised.value.hint == "start Docker, or point DOCKER_HOST at a running engine (Podman's socket works too)"


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("No such image: my-env:latest", NotFoundError, "no image named 'my-env' on this engine"),
        ("No such container: run1", NotFoundError, "no container named 'run1' on this engine"),
        ("Container 0a1b2c is not running", RuntimeStartError, "container 'run1' is not running"),
        (
            "mkdir /var/lib/docker/overlay2/x: no space left on device",
            RuntimeStartError,
            "the Docker engine's disk is full: mkdir /var/lib/docker/overlay2/x: no space left on device",
        ),
        (
            'OCI runtime create failed: runc create failed: exec: "hud": executable file not found in $PATH: unknown',
            RuntimeStartError,
            "image 'my-env' cannot run its command: \"hud\": executable file not found in $PATH",
        ),
        (
            'could not select device driver "" with capabilities: [[gpu]]',
            RuntimeStartError,
            'the Docker engine has no GPU support: could not select device driver "" with capabilities: [[gpu]]',
        ),
        (
            "docker: Error response from daemon: Range of CPUs is from 0.01 to 2.00\n\nRun 'docker run --help'.",
            UsageError,
            "the Docker engine cannot give what was asked for: Range of CPUs is from 0.01 to 2.00",
        ),
        (
            "unknown flag: --gpu\n\nUsage:  docker run [OPTIONS] IMAGE",
            UsageError,
            "`docker run` refuses the run_args: unknown flag: --gpu",
        ),
        (
            "docker: something new.\nSee 'docker run --help'.",
            RuntimeStartError,
            "the Docker engine refused: something new",
        ),
        ("", RuntimeStartError, "the Docker engine refused: no reason given"),
    ],
    ids=["image", "container", "not running", "disk", "command", "gpu", "cpu", "flag", "other", "nothing"],
)
def test_what_an_engine_says_becomes_an_error_with_its_value(said: str, kind: type[HudError], message: str) -> None:
    error = explain(said, image="my-env", container="run1")
    assert type(error) is kind
    assert error.message == message


@pytest.mark.parametrize(
    ("run_args", "kept", "name"),
    [
        (["--gpus", "all"], ("--gpus", "all"), None),
        (["--name", "mine", "--gpus", "all"], ("--gpus", "all"), "mine"),
        (["--gpus", "all", "--name=mine"], ("--gpus", "all"), "mine"),
    ],
)
def test_a_name_among_run_args_is_taken_out(run_args: list[str], kept: tuple[str, ...], name: str | None) -> None:
    assert split_name(run_args) == (kept, name)


def client_that_answers(folder: Path, script: str) -> None:
    folder.mkdir()
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)


def test_the_first_client_that_builds_with_buildkit_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client_that_answers(tmp_path / "without", 'test "$1" = version && echo 28.2.2')
    client_that_answers(tmp_path / "inside", 'test "$1" = version && echo 20.10.24+dfsg1')
    client_that_answers(tmp_path / "plugin", 'test "$1" = buildx && echo v0.30')

    def chosen(*names: str) -> str | None:
        monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in names))
        return build_client()

    assert chosen("without") is None
    assert chosen("without", "inside", "plugin") == str(tmp_path / "inside" / "docker")
    assert chosen("without", "plugin", "inside") == str(tmp_path / "plugin" / "docker")
