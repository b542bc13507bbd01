"""The same folder, once by our rules and once by a real `docker build`."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hud.context import Recipe, scan
from tests import bench
from tests.hud.context.folders import patterns, shown, trees, write

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

# Each example is a build of a tenth of a second.
real_builds = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@real_builds
@given(files=trees(), ignore=st.lists(patterns(), min_size=1, max_size=4))
def test_buildkit_leaves_out_the_same(files: dict[str, str | None], ignore: list[str]) -> None:
    with a_folder(files, ignore) as folder:
        assert copied_by_buildkit(folder) == shown(scan(folder, Recipe(dockerfile="Dockerfile")))


@real_builds
@given(data=st.data(), files=trees(), ignore=st.lists(patterns(), min_size=1, max_size=3))
def test_docker_brings_back_the_same(data: st.DataObject, files: dict[str, str | None], ignore: list[str]) -> None:
    """Literal `!` patterns: the classic builder does not look into an ignored folder for others, BuildKit does."""
    client = current_client()
    back = data.draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2))
    lines = data.draw(st.permutations([*ignore, *(f"!{path}" for path in back)]))
    with a_folder(files, lines) as folder:
        assert copied_by_classic_builder(client, folder) == shown(scan(folder, Recipe(dockerfile="Dockerfile")))


@pytest.mark.parametrize(
    "ignore",
    [["data/*", "!data/keep"], ["*", "!src"], ["**/*.md", "!README.md"], ["data/**", "!data/deep/keep"]],
    ids=" ".join,
)
def test_usual_allow_lists_mean_the_same_to_every_engine(ignore: list[str]) -> None:
    names = ["data/keep", "data/other", "data/deep/keep", "src/a.py", "src/b.md", "README.md", "x.md", "data/deep/x"]
    with a_folder(dict.fromkeys(names, ""), ignore) as folder:
        assert copied_by_buildkit(folder) == shown(scan(folder, Recipe(dockerfile="Dockerfile")))


@contextmanager
def a_folder(files: Mapping[str, str | None], ignore: list[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hud-context-") as parent:
        folder = Path(parent) / "context"
        folder.mkdir()
        recipe = {"Dockerfile": "FROM scratch\nCOPY . /context\n", ".dockerignore": "\n".join(ignore)}
        yield write(folder, {**files, **recipe})


def copied_by_buildkit(folder: Path) -> set[str]:
    output = folder.parent / "image.tar"
    docker(bench.require_docker(), "build", "--quiet", "--output", f"type=tar,dest={output}", str(folder), buildkit="1")
    return copied(output.read_bytes())


def copied_by_classic_builder(client: str, folder: Path) -> set[str]:
    image = docker(client, "build", "--quiet", str(folder), buildkit="0").decode().strip()
    try:
        container = docker(client, "create", image, "nothing").decode().strip()
        try:
            return copied(docker(client, "export", container))
        finally:
            docker(client, "rm", container)
    finally:
        docker(client, "rmi", image)


def copied(image: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(image)) as archive:
        names = {member.name.strip("/") + ("/" if member.isdir() else "") for member in archive}
    below = {name.removeprefix("context/") for name in names if name.startswith("context/")}
    return below - {"", "Dockerfile", ".dockerignore"}


def current_client() -> str:
    """Give the docker on the PATH when its matcher is today's (23.0 and later)."""
    bench.require_docker()
    client = shutil.which("docker")
    assert client is not None
    version = re.search(rb"\d+", docker(client, "--version"))
    if version is None or int(version[0]) < 23:
        pytest.skip("the docker on the PATH is older than 23.0, which reads ! patterns in another way")
    return client


def docker(client: str, *arguments: str, buildkit: str = "1") -> bytes:
    environment = {**os.environ, "DOCKER_BUILDKIT": buildkit}
    return subprocess.run([client, *arguments], env=environment, check=True, capture_output=True).stdout
