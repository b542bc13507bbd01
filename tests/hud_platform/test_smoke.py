"""A built image is started once and asked what it is; nothing of it is left."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from hud.errors import DeadlineError, NotFoundError, RuntimeStartError
from hud.eval.config import RuntimeConfig, RuntimeGPU, RuntimeLimits, RuntimeResources
from hud_platform.builds import smoke
from tests.bench import base_image, require_docker
from tests.hud.eval.docker_image import own_containers, variant

pytestmark = pytest.mark.docker


@pytest.fixture
def changed(template_image: Callable[[str], str]) -> Iterator[Callable[..., str]]:
    """Give the tag of the blank template's image with another command."""
    tags: list[str] = []

    def make(*command: str) -> str:
        tags.append(variant(template_image("blank"), *command))
        return tags[-1]

    yield make
    subprocess.run([require_docker(), "image", "rm", "--force", *tags], capture_output=True)


async def test_an_image_says_its_tasks_and_capabilities(template_image: Callable[[str], str]) -> None:
    manifest = await smoke.manifest_of(template_image("coding"))
    assert manifest.tasks
    assert all(task.args is not None and task.args["type"] == "object" for task in manifest.tasks)
    assert {capability.protocol for capability in manifest.capabilities} == {"ssh/2"}
    assert own_containers() == []


async def test_limits_of_a_larger_machine_do_not_matter(template_image: Callable[[str], str]) -> None:
    wanted = RuntimeConfig(
        image="another:image",
        resources=RuntimeResources(cpu=4096, memory_mb=2**30, gpu=RuntimeGPU(type="H100"), storage_mb=2**40),
    )
    manifest = await smoke.manifest_of(template_image("blank"), runtime_config=wanted)
    assert [task.id for task in manifest.tasks] == ["count", "fix_bug"]


async def test_an_image_that_ends_is_told_with_its_last_lines(changed: Callable[..., str]) -> None:
    image = changed("sh", "-c", "echo the value is $VALUE; exit 4")
    with pytest.raises(RuntimeStartError, match="exited with code 4") as failed:
        await smoke.manifest_of(image, variables={"VALUE": "given"})
    assert "the value is given" in str(failed.value)
    assert own_containers() == []


async def test_an_image_that_stays_silent_is_told_in_time(changed: Callable[..., str]) -> None:
    limits = RuntimeConfig(limits=RuntimeLimits(startup_timeout_s=1))
    with pytest.raises(DeadlineError, match="did not answer on port 8765 within its startup_timeout_s of 1 s"):
        await smoke.manifest_of(changed("sleep", "3600"), runtime_config=limits)
    assert own_containers() == []


async def test_an_image_that_is_not_there_is_told() -> None:
    require_docker()
    with pytest.raises(NotFoundError, match="no image named 'hud/none:1'"):
        await smoke.manifest_of("hud/none:1")


async def test_what_a_killed_platform_left_is_removed(changed: Callable[..., str]) -> None:
    image = changed("sleep", "3600")
    program = (
        "from hud.eval.runtimes import docker_engine\n"
        f"docker_engine.run_detached({image!r}, kept=False)\n"
        "import os; os._exit(9)"
    )
    _run_and_lose(program)
    assert _of(image)
    await smoke.remove_leftovers(base_image())
    assert _of(image)
    await smoke.remove_leftovers(image)
    assert not _of(image)


def _run_and_lose(program: str) -> None:
    import sys

    subprocess.run([sys.executable, "-c", program], check=False)


def _of(image: str) -> str:
    asked = [require_docker(), "ps", "--all", "--quiet", "--filter", f"ancestor={image}"]
    return subprocess.check_output(asked, text=True)
