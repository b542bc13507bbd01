"""A fresh local container for each rollout.

Starting and removing block, and go through the engine in threads of their own; everything else is asyncio. A container
has its name before it exists, so whenever a rollout is given up its removal can be set going.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from hud.errors import RuntimeStartError, UsageError
from hud.eval.config import RuntimeConfig, RuntimeLimits, RuntimeResources
from hud.eval.runtimes import Runtime, docker_gpu, ownership
from hud.eval.runtimes.docker_connection import endpoint, engine
from hud.eval.runtimes.docker_exec import exec_in
from hud.eval.runtimes.docker_launch import ContainerSpec, Started, container_name, launch, split_name
from hud.eval.runtimes.docker_life import Life, reached_directly
from hud.eval.runtimes.docker_removal import Removals
from hud.wire import DEFAULT_PORT, TOKEN_VARIABLE

if TYPE_CHECKING:
    from hud.eval.task import Task

__all__ = ["DockerRuntime"]

_SUPPORTED = (
    "image",
    "resources.cpu",
    "resources.memory_mb",
    "resources.storage_mb",
    "resources.gpu",
    "limits.startup_timeout_s",
    "limits.run_timeout_s",
)

# The engine starts containers no faster than its processors allow; more at once only makes each slower.
_STARTS_AT_ONCE = max(8, min(16, 2 * (os.cpu_count() or 1)))
_starts = ThreadPoolExecutor(_STARTS_AT_ONCE, thread_name_prefix="hud-docker-start")


class DockerRuntime:
    """A provider: each call starts one container of an image on the local engine, and removes it at the end.

    The image's own command serves the control channel. The container has an init process, a channel token of its own,
    no way to gain privileges, and limits on processes and on what the config names. Its port is published on an
    ephemeral port of 127.0.0.1, or not at all where containers are reached at their own addresses. As a context manager
    (a job opens it) removals go on behind the rollouts and are waited for at the end; not opened, each rollout waits
    for its own.

    Args:
        image: The image to run; a row's `runtime_config.image` takes its place.
        port: The port that its command serves.
        run_args: Flags of `docker run`, such as `["--gpus", "all"]`; the `docker` command then creates the containers.
        env_vars: Environment variables over the image's.
        runtime_config: Defaults for rows that ask for nothing themselves.

    Raises:
        UsageError: Two images are named, a port that is none, or run_args that name the container.
    """

    def __init__(
        self,
        image: str | None = None,
        *,
        port: int = DEFAULT_PORT,
        run_args: Sequence[str] = (),
        env_vars: Mapping[str, str] | None = None,
        runtime_config: RuntimeConfig | None = None,
    ) -> None:
        if isinstance(run_args, str):
            raise UsageError(f"run_args is the text {run_args!r}", hint='give a list of flags: ["--gpus", "all"]')
        if split_name(run_args)[1] is not None:
            raise UsageError("run_args have --name, but DockerRuntime names each of its containers itself")
        if not 0 < port < 65536:
            raise UsageError(f"port is {port}, not between 1 and 65535")
        config = runtime_config or RuntimeConfig()
        if image is not None and config.image not in (None, image):
            raise UsageError(f"DockerRuntime is given two images, {image!r} and {config.image!r}")
        self._config = RuntimeConfig.merge(config, RuntimeConfig(image=image))
        self._port = port
        self._run_args = tuple(run_args)
        self._env = dict(env_vars or {})
        self._opened = 0
        self._removals = Removals()

    def __repr__(self) -> str:
        return f"DockerRuntime({self._config.image!r})"

    async def __aenter__(self) -> DockerRuntime:
        self._opened += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened -= 1
        if self._opened == 0:
            await self._removals.drained()

    @asynccontextmanager
    async def __call__(self, task: Task) -> AsyncIterator[Runtime]:
        """Run one container for a row.

        Raises:
            UsageError: The row asks for what a local container cannot give, names no image, or the engine is another
                machine's.
            NotFoundError: The engine lacks the image.
            UnreachableError: No engine answers.
            RuntimeStartError: The container ended before its channel answered, or while it was in use.
            DeadlineError: Its channel did not answer in `startup_timeout_s`, or `run_timeout_s` ended it.
        """
        config = RuntimeConfig.merge(self._config, task.runtime_config)
        token = secrets.token_urlsafe(24)
        spec = self._spec(config, task, token)
        if self._opened:
            await self._removals.not_too_many()
        await asyncio.wrap_future(_starts.submit(_local_engine))
        given_up = threading.Event()
        self._removals.expect(spec.name)
        launching = _starts.submit(_launch, spec, given_up.is_set)
        life = Life(spec, config.limits or RuntimeLimits())
        try:
            started = await asyncio.wrap_future(launching)
            await life.begin(started, token)
            yield Runtime(f"tcp://{started.host}:{started.port}", {"token": token}, config)
        except Exception as error:
            fate = await life.fate(error)
            if fate is None:
                raise
            raise fate from error
        finally:
            given_up.set()
            life.end()
            removal = self._removals.add(spec.name, after=launching)
            if not self._opened:
                await self._removals.settled([removal])

    def _spec(self, config: RuntimeConfig, task: Task, token: str) -> ContainerSpec:
        resources = config.resources or RuntimeResources()
        # A container of this engine is a Linux container: a row that says so asks for nothing more.
        linux = ("resources.os",) if (resources.os or "").lower() == "linux" else ()
        config.refuse_unsupported("DockerRuntime", (*_SUPPORTED, *linux))
        if config.image is None:
            raise UsageError(
                f"no image to run task {task.slug!r} in",
                hint='DockerRuntime("my-env"), or runtime_config.image in the row',
            )
        return ContainerSpec(
            image=config.image,
            name=container_name(),
            port=self._port,
            published=not reached_directly(),
            env={**self._env, TOKEN_VARIABLE: token},
            labels=ownership.labels(),
            resources=resources,
            run_args=self._run_args,
        )


def _local_engine() -> None:
    """Make sure of an engine, before anything is made that would have to be removed."""
    where = endpoint()
    if not where.is_local:
        raise UsageError(
            f"DockerRuntime cannot reach containers on the engine at {where.url} ({where.source}): their ports are"
            " published on that machine's loopback",
            hint='start a container there, forward its port (ssh -L 8765:localhost:8765), use Runtime("tcp://…")',
        )
    engine()


def _launch(spec: ContainerSpec, given_up: Callable[[], bool]) -> Started:
    """Create, start, find the port, measure the disk."""
    started = launch(spec, gpu_ids=docker_gpu.ids_of(spec.resources.gpu), given_up=given_up)
    if spec.resources.storage_mb is not None and not given_up():
        _check_storage(spec, spec.resources.storage_mb)
    return started


def _check_storage(spec: ContainerSpec, wanted_mb: int) -> None:
    """Measure the free disk where it counts, inside: the engine's folder may be on another machine or a volume."""
    measured = exec_in(spec.name, ["df", "-Pk", "/"])
    last_line = measured.stdout.decode(errors="replace").splitlines()[-1:]
    available = last_line[0].split()[3:4] if last_line else []
    if measured.exit_code != 0 or not available or not available[0].isdecimal():
        raise RuntimeStartError(f"cannot measure the disk of image {spec.image!r} for resources.storage_mb with `df`")
    free_mb = int(available[0]) // 1024
    if free_mb < wanted_mb:
        raise RuntimeStartError(
            f"the container of image {spec.image!r} has {free_mb} MB of free disk, but resources.storage_mb asks for"
            f" {wanted_mb}",
            hint="docker system df; hud cleanup",
        )
