"""Real things in a known state, shared by all tests. What they stand on is in tests/bench.py."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import bench, stand_in
from tests.platform_process import PlatformProcess


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own wheel, built once."""
    return bench.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def scaffold(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder that `hud init` makes from a template: a fresh one each time."""

    def make(template: str) -> Path:
        parent = tmp_path_factory.mktemp("scaffold")
        made = bench.hud("init", f"my-{template}", "--template", template, cwd=parent)
        if made.returncode != 0:
            pytest.fail(f"hud init --template {template}: {made.stderr}", pytrace=False)
        return parent / f"my-{template}"

    return make


@pytest.fixture(scope="session")
def build_image() -> Iterator[Callable[..., str]]:
    """Build a folder's Dockerfile.hud and give the image's tag; every image built so is removed at the end."""
    tags: list[str] = []

    def build(folder: Path, **build_args: str) -> str:
        tag = f"hud-test-{uuid.uuid4().hex[:12]}"
        tags.append(tag)
        return bench.build_image(folder, tag, **build_args)

    yield build
    if tags:
        subprocess.run([bench.require_docker(), "image", "rm", "--force", *tags], capture_output=True, check=False)


@pytest.fixture(scope="session")
def template_image(scaffold: Callable[[str], Path], build_image: Callable[..., str]) -> Callable[[str], str]:
    """Give the tag of the image of a template, scaffolded and built on first use."""
    tags: dict[str, str] = {}

    def image(template: str) -> str:
        if template not in tags:
            tags[template] = build_image(scaffold(template))
        return tags[template]

    return image


@pytest.fixture
def public_service() -> Iterator[stand_in.PublicService]:
    """A stand-in of the public service on a loopback port, without projects, environments and tasksets."""
    with stand_in.serve() as service:
        yield service


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """A running platform that all tests share: `.url`, `.key`, `.data`, and `.client` with the key."""
    folder = tmp_path_factory.mktemp("platform")
    process = PlatformProcess(data=folder / "data", home=folder / "home")
    yield process.start()
    process.close()


@pytest.fixture
def fresh_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PlatformProcess]]:
    """Start a platform of the test's own; what is given besides goes to `hud platform up`."""
    started: list[PlatformProcess] = []

    def start(*words: str, data: Path | None = None, **variables: str) -> PlatformProcess:
        folder = tmp_path_factory.mktemp("platform")
        process = PlatformProcess(
            data=data or folder / "data", home=folder / "home", words=words, variables=dict(variables)
        )
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.close()
