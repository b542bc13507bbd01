"""Images of versions: pushed where a registry is configured, and removed once no kept version runs them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from hud_platform.backend import open_backend
from hud_platform.builds import images
from hud_platform.config import PlatformConfig
from tests.bench import require_docker, require_registry
from tests.hud_platform.deploying import deploy, files_of, new_name, served, watch
from tests.platform_process import PlatformProcess

pytestmark = pytest.mark.docker

_CONFIG = """
version: 0.1
storage:
  filesystem: {{rootdirectory: {folder}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of an OCI registry on this machine."""
    require_docker()
    program = require_registry()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(_CONFIG.format(folder=tmp_path / "registry", port=port))
    with subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/v2/")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    for _ in range(100):
        try:
            httpx.get(url)
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return


def test_an_image_is_pushed_to_the_registry_and_found_there_by_digest(
    fresh_platform: Callable[..., PlatformProcess], registry: str, wheel: Path
) -> None:
    platform, name = fresh_platform("--registry", f"{registry}/hud"), new_name()
    ended = deploy(platform, served(wheel), name)
    assert ended["status"] == "SUCCEEDED"
    assert ended["uri"] == f"{registry}/hud/{name}@{ended['digest']}"
    accepted = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    stored = httpx.get(f"http://{registry}/v2/hud/{name}/manifests/{ended['digest']}", headers=accepted)
    assert stored.headers["Docker-Content-Digest"] == ended["digest"]
    assert f"Pushing {registry}/hud/{name}:{ended['id']}" in watch(platform, ended["id"]).text


def test_a_registry_that_does_not_answer_fails_the_build(
    fresh_platform: Callable[..., PlatformProcess], wheel: Path
) -> None:
    ended = deploy(fresh_platform("--registry", "127.0.0.1:9/hud"), served(wheel), new_name())
    assert ended["status"] == "FAILED"
    assert "the image cannot be pushed to 127.0.0.1:9/hud/" in ended["error_message"]
    assert "docker login" in ended["error_message"]


@pytest.fixture
def deployed(fresh_platform: Callable[..., PlatformProcess], wheel: Path) -> PlatformProcess:
    """A platform with four versions of one environment, the first of them current again, and a build that failed."""
    platform = fresh_platform()
    for number in range(3):
        deploy(platform, served(wheel, steps=f"RUN echo {number} {platform.pid}"), "kept")
    (environment,) = platform.client.get("/v2/registry").json()["items"]
    platform.client.post(f"/v2/registry/{environment['id']}/rollback", json={"version": 1}).raise_for_status()
    deploy(platform, files_of('CMD ["false"]\n'), "failed")
    return platform


async def test_images_that_no_kept_version_runs_are_removed(deployed: PlatformProcess) -> None:
    builds = {row["id"]: row for row in deployed.client.get("/v2/builds").json()["items"]}
    assert {of_build(build_id) for build_id in builds} == {True}
    deployed.stop()
    async with open_backend(PlatformConfig(data=deployed.data)) as backend:
        expected = await images.remove_unused(backend, keep=1, dry_run=True)
        removed = await images.remove_unused(backend, keep=1)
        assert (await images.remove_unused(backend, keep=1)).images == []
    left = [row for build_id, row in builds.items() if of_build(build_id)]
    assert [row["version"] for row in left] == [1]
    assert removed == expected
    assert len(removed.images) == 3
    assert removed.size_bytes > 0


def of_build(build_id: str) -> bool:
    """Whether the engine has the image of a build."""
    asked = [require_docker(), "images", "--quiet", f"hud/*:{build_id}"]
    return bool(subprocess.check_output(asked, text=True).strip())
