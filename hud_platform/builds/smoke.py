"""Start a built image once, and ask it what it is: an image that does not answer `hello` is no environment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hud.client import Client, connect
from hud.errors import DeadlineError
from hud.eval.config import RuntimeConfig, RuntimeResources
from hud.eval.runtimes import ownership
from hud.eval.runtimes.docker import DockerRuntime
from hud.eval.runtimes.docker_engine import engine_info, list_labelled, remove
from hud.eval.task import Task
from hud.platform.records import Manifest, ManifestCapability, ManifestTask

__all__ = ["manifest_of", "remove_leftovers"]

_ANSWER_S = 30.0


async def manifest_of(
    image: str, *, variables: Mapping[str, str] | None = None, runtime_config: RuntimeConfig | None = None
) -> Manifest:
    """Start a container of an image, ask it for its capabilities and tasks, and remove it.

    Args:
        image: One that the engine has.
        variables: Environment variables over the image's.
        runtime_config: What its rollouts ask for. CPU and memory are given as far as the engine has them and the time
            limits hold; an image and accelerators of its own are left out, because nothing is run but `hello`.

    Raises:
        RuntimeStartError: The container ends before it answers; the message has its last lines.
        DeadlineError: It does not answer in time.
        HudProtocolError: What it answers is not the protocol.
        UnreachableError: No engine answers.
    """
    config = await asyncio.to_thread(_affordable, runtime_config or RuntimeConfig())
    runtime = DockerRuntime(image, env_vars=variables, runtime_config=config)
    async with runtime(Task(env="smoke", id="smoke")) as address, connect(address, ready_timeout=_ANSWER_S) as client:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await _ask(client)
        except TimeoutError as error:
            raise DeadlineError(
                f"the container of image {image!r} answered hello, but not tasks.list within {_ANSWER_S:g} s",
                hint=f"docker run --rm {image}",
            ) from error


async def _ask(client: Client) -> Manifest:
    bindings = client.manifest.bindings
    return Manifest(
        tasks=[task for row in await client.list_tasks() if (task := _task(row)) is not None],
        capabilities=[ManifestCapability(name=bound.name, protocol=bound.protocol) for bound in bindings],
    )


def _task(row: Mapping[str, Any]) -> ManifestTask | None:
    name, description, args = row.get("id"), row.get("description"), row.get("args")
    if not isinstance(name, str):
        return None
    return ManifestTask(
        id=name,
        description=description if isinstance(description, str) and description else None,
        args=args if isinstance(args, dict) else None,
    )


def _affordable(config: RuntimeConfig) -> RuntimeConfig:
    """Ask for no more than there is: this machine builds images that larger ones run."""
    wanted = config.resources or RuntimeResources()
    info = engine_info()
    memory_mb = info.memory_bytes // 2**20
    resources = RuntimeResources(
        cpu=None if wanted.cpu is None else min(wanted.cpu, info.cpus or wanted.cpu),
        memory_mb=None if wanted.memory_mb is None else min(wanted.memory_mb, memory_mb or wanted.memory_mb),
    )
    return replace(config, image=None, compose=None, resources=resources)


async def remove_leftovers(image: str) -> None:
    """Remove the containers of an image that a killed platform left."""
    await asyncio.to_thread(_remove_leftovers, image)


def _remove_leftovers(image: str) -> None:
    for row in list_labelled(ownership.OWNER_LABEL):
        owner = row.labels[ownership.OWNER_LABEL]
        if row.image == image and not ownership.is_alive(owner, created_at_s=row.created_s):
            remove(row.name)
