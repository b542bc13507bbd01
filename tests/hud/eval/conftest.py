"""Images for the tests of the Docker runtime, and a mark by which a test's processes are found."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud.eval.runtimes import docker_engine
from tests import bench
from tests.hud.eval import docker_image
from tests.hud.eval.places import MARK, left_running


@pytest.fixture(scope="session")
def served_image(wheel: Path, build_image: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that serves the environment of `docker_image` on port 8765."""
    bench.require_docker()
    return build_image(docker_image.write_folder(tmp_path_factory.mktemp("image"), wheel))


@pytest.fixture
def variant(served_image: str) -> Iterator[Callable[..., str]]:
    """Make images that differ from the served one in their command."""
    tags: list[str] = []

    def make(*command: str) -> str:
        tags.append(docker_image.variant(served_image, *command))
        return tags[-1]

    yield make
    for tag in tags:
        docker_engine.engine().remove_image(tag, force=True)


@pytest.fixture
def no_leftovers(served_image: str) -> Iterator[None]:
    """Check that a test leaves no container of this process."""
    yield
    assert docker_image.own_containers() == []


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark this test's processes and files; at its end there are none."""
    name = uuid.uuid4().hex
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setenv(MARK, name)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield name
    assert left_running(name) == {}
    assert os.listdir(temporary) == []
