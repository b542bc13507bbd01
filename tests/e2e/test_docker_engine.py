"""`scripts/docker-engine`: what the other scripts and tests ask of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import bench

SCRIPT = bench.ROOT / "scripts" / "docker-engine"


@pytest.mark.docker
def test_up_is_done_at_once_when_an_engine_answers() -> None:
    bench.require_docker()

    done = subprocess.run([SCRIPT, "up"], capture_output=True, text=True, timeout=10)

    assert done.returncode == 0
    assert done.stdout == ""
    assert "engine" in done.stderr


@pytest.mark.docker
@pytest.mark.slow
def test_the_base_image_has_python_pip_and_apt() -> None:
    image = bench.base_image()
    inside = "python --version && pip --version && apt-get --version"

    done = subprocess.run(
        [bench.require_docker(), "run", "--rm", image, "sh", "-c", inside], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Python 3.")


def test_an_engine_that_cannot_be_had_is_said_plainly_with_code_3(tmp_path: Path) -> None:
    env = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock", "XDG_CACHE_HOME": str(tmp_path)}

    done = subprocess.run([SCRIPT, "up"], env=env, capture_output=True, text=True)

    assert done.returncode == 3
    assert "no Docker engine answers" in done.stderr or "no Docker client" in done.stderr


def test_an_engine_of_somebody_else_is_not_stopped(tmp_path: Path) -> None:
    state = tmp_path / "hud-cli" / "docker-engine"
    state.mkdir(parents=True)
    (state / "dockerd.pid").write_text(str(os.getpid()))

    done = subprocess.run([SCRIPT, "down"], env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, timeout=10)

    assert done.returncode == 0
    assert not (state / "dockerd.pid").exists()


def test_an_unknown_command_is_a_usage_error() -> None:
    done = subprocess.run([SCRIPT, "destroy"], capture_output=True, text=True)

    assert done.returncode == 2
    assert "up, status, down, client or base-image" in done.stderr
