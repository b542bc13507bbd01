"""A fresh local container for each rollout.

Starting and removing block, and go through the engine in threads of their own; everything else is asyncio. A container
has its name before it exists, so whenever a rollout is given up its removal can be set going.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from hud.client.blocking import read_reply
from hud.errors import DeadlineError, HudError, NotAuthorisedError, RuntimeStartError, UsageError
from hud.eval.config import RuntimeConfig, RuntimeLimits, RuntimeResources
from hud.eval.runtimes import Runtime, docker_gpu, ownership
from hud.eval.runtimes.docker_connection import endpoint
from hud.eval.runtimes.docker_containers import kill, last_lines, remove, state
from hud.eval.runtimes.docker_exec import exec_in
from hud.eval.runtimes.docker_launch import ContainerSpec, Started, container_name, ended, indented, launch, split_name
from hud.wire import DEFAULT_PORT, TOKEN_VARIABLE, decode, encode_request

if TYPE_CHECKING:
    from hud.eval.task import Task

__all__ = ["DockerRuntime"]

STARTUP_TIMEOUT_S = 120.0
"""How long a started container may take to answer `hello`, where `limits.startup_timeout_s` says nothing."""

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
_STARTS_AT_ONCE = max(4, min(16, 2 * (os.cpu_count() or 1)))
_REMOVALS_AT_ONCE = 4
_LOOKS_AT_ONCE = 4
_REMOVALS_WAITING = 16

_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.005, 0.1
_LOOK_EVERY_S = 0.25
_ATTEMPT_S = 5.0
_REPLY_LIMIT_BYTES = 1 << 20

_Result = TypeVar("_Result")
_log = logging.getLogger("hud.docker")


class DockerRuntime:
    """A provider: each call starts one container of an image on the local engine, and removes it at the end.

    The image's own command serves the control channel. The container has an init process, its port on an ephemeral
    port of 127.0.0.1, a channel token of its own, no way to gain privileges, and limits on processes and on what the
    config names. As a context manager (a job opens it) removals go on behind the rollouts and are waited for at the
    end; not opened, each rollout waits for its own.

    Args:
        image: The image to run; a row's `runtime_config.image` takes its place.
        port: The port that its command serves.
        run_args: Flags of `docker run`, such as `["--gpus", "all"]`; the `docker` command then creates the containers.
        env_vars: Environment variables over the image's.
        runtime_config: Defaults for rows that ask for nothing themselves.

    Raises:
        UsageError: Two images are named, or a port that is none.
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
        self._removals = _Removals()

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
            UsageError: The row asks for what a local container cannot give, or names no image.
            NotFoundError: The engine lacks the image.
            UnreachableError: No engine answers, or it is another machine's.
            RuntimeStartError: The container ended before its channel answered, or while it was in use.
            DeadlineError: Its channel did not answer in `startup_timeout_s`, or `run_timeout_s` ended it.
        """
        config = RuntimeConfig.merge(self._config, task.runtime_config)
        token = secrets.token_urlsafe(24)
        spec = self._spec(config, task, token)
        if self._opened:
            await self._removals.fewer_than(_REMOVALS_WAITING)
        given_up = threading.Event()
        _live.add(spec.name)
        launching = _starts.submit(_launch, spec, given_up.is_set)
        life = _Life(spec, config.limits or RuntimeLimits())
        try:
            started = await asyncio.wrap_future(launching)
            life.begin()
            await _answered(spec, started, token, life)
            yield Runtime(f"tcp://{started.host}:{started.port}", {"token": token}, config)
        except Exception as error:
            if (fate := await life.fate()) is not None and fate is not error:
                raise fate from error
            raise
        finally:
            given_up.set()
            life.end()
            removal = self._removals.add(spec.name, after=launching)
            if not self._opened:
                await asyncio.wait([asyncio.wrap_future(removal)])

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
        run_args, name = split_name(self._run_args)
        return ContainerSpec(
            image=config.image,
            name=name or container_name(),
            port=self._port,
            env={**self._env, TOKEN_VARIABLE: token},
            labels=ownership.labels(),
            resources=resources,
            run_args=run_args,
        )


def _launch(spec: ContainerSpec, given_up: Callable[[], bool]) -> Started:
    """In a thread: check, create, start, find the port, measure the disk."""
    where = endpoint()
    if not where.is_local:
        raise UsageError(
            f"DockerRuntime cannot reach containers on the engine at {where.url} ({where.source}): their ports are"
            " published on that machine's loopback",
            hint='run there, or start a container there, forward its port, and use Runtime("tcp://…")',
        )
    gpu_ids = docker_gpu.ids_of(spec.resources.gpu)
    started = launch(spec, gpu_ids=gpu_ids, given_up=given_up)
    if spec.resources.storage_mb is not None and not given_up():
        _check_storage(spec, spec.resources.storage_mb)
    return started


def _check_storage(spec: ContainerSpec, wanted_mb: int) -> None:
    """Measure the free disk where it counts, inside: the engine's folder may be on another machine or a volume."""
    measured = exec_in(spec.name, ["df", "-Pk", "/"])
    fields = measured.stdout.decode(errors="replace").splitlines()[-1:]
    available = fields[0].split()[3:4] if fields else []
    if measured.exit_code != 0 or not available or not available[0].isdecimal():
        raise RuntimeStartError(f"cannot measure the disk of image {spec.image!r} for resources.storage_mb: no `df`")
    free_mb = int(available[0]) // 1024
    if free_mb < wanted_mb:
        raise RuntimeStartError(
            f"the container of image {spec.image!r} has {free_mb} MB of free disk, resources.storage_mb asks for"
            f" {wanted_mb}",
            hint="docker system df; hud cleanup",
        )


class _Life:
    """The time limits of one container, and what became of it."""

    def __init__(self, spec: ContainerSpec, limits: RuntimeLimits) -> None:
        self._spec = spec
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False
        self._ready = False
        self.startup_timeout_s = limits.startup_timeout_s or STARTUP_TIMEOUT_S
        self.deadline = 0.0

    def begin(self) -> None:
        """Start the clocks: the container has been started."""
        loop = asyncio.get_running_loop()
        self.deadline = loop.time() + self.startup_timeout_s
        if self._limits.run_timeout_s is not None:
            self._timer = loop.call_later(self._limits.run_timeout_s, self._expire)

    def _expire(self) -> None:
        self._expired = True
        _looks.submit(kill, self._spec.name)

    def ready(self) -> None:
        """Note that the channel answered: from here on an end of the container is an end in use."""
        self._ready = True

    def end(self) -> None:
        """Stop the clocks."""
        if self._timer is not None:
            self._timer.cancel()

    async def fate(self) -> HudError | None:
        """Say why the container is gone from under a rollout, or None when it is not."""
        if self._expired:
            return DeadlineError(
                f"the container of image {self._spec.image!r} was ended by its run_timeout_s of"
                f" {self._limits.run_timeout_s:g} s"
            )
        if not self._ready:
            return None
        try:
            now = await _in_thread(state, self._spec.name)
        except HudError:
            return None
        if now.running:
            return None
        why = "for want of memory" if now.out_of_memory else f"with code {now.exit_code}"
        printed = await _in_thread(last_lines, self._spec.name)
        lines = f"; its last lines:\n{indented(printed)}" if printed else ""
        return RuntimeStartError(f"the container of image {self._spec.image!r} ended {why} while in use{lines}")


async def _answered(spec: ContainerSpec, started: Started, token: str, life: _Life) -> None:
    """Wait until the channel answers `hello`, trying often at first; notice at once when the container ends."""
    loop = asyncio.get_running_loop()
    begun = looked = loop.time()
    seen = "nothing accepts"
    while True:
        try:
            async with asyncio.timeout_at(min(life.deadline, loop.time() + _ATTEMPT_S)):
                await _hello(spec, started, token)
            life.ready()
            return
        except TimeoutError:
            seen = "it accepts and does not answer"
        except OSError as error:
            seen = "nothing accepts" if isinstance(error, ConnectionRefusedError) else "the connection is dropped"
            # A refusal is what a container leaves behind whose port is no longer forwarded.
            if isinstance(error, ConnectionRefusedError):
                looked = min(looked, loop.time() - _LOOK_EVERY_S / 2)
        now = loop.time()
        if now - looked >= _LOOK_EVERY_S / 2 or now >= life.deadline:
            fate = await _in_thread(state, spec.name)
            if not fate.running and not life._expired:
                raise await _in_thread(ended, spec, fate)
            looked = now
        if now >= life.deadline:
            raise await _in_thread(_silent, spec, life.startup_timeout_s, seen)
        # A tenth of the time waited so far: a late try costs little beside what was waited anyway.
        pause_s = min(max((now - begun) / 10, _FIRST_RETRY_S), _LONGEST_RETRY_S)
        await asyncio.sleep(min(pause_s, max(0.0, life.deadline - now)))


async def _hello(spec: ContainerSpec, started: Started, token: str) -> None:
    """Say hello once; a reply that is no reply is final, a lost connection an OSError."""
    reader, writer = await asyncio.open_connection(started.host, started.port, limit=_REPLY_LIMIT_BYTES)
    try:
        writer.write(encode_request(1, "hello", {"token": token}))
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("closed before hello was answered")
        read_reply(decode(line), 1, "hello")
    except NotAuthorisedError as error:
        raise RuntimeStartError(
            f"the container of image {spec.image!r} has a channel token of its own",
            hint=f"unset {TOKEN_VARIABLE} in it",
        ) from error
    except ValueError as error:
        raise RuntimeStartError(
            f"port {started.port} of the container of image {spec.image!r} is no control channel: {error}",
            hint="DockerRuntime(…, port=…) is the port that `hud serve` has inside",
        ) from error
    finally:
        writer.close()


def _silent(spec: ContainerSpec, timeout_s: float, seen: str) -> DeadlineError:
    printed = last_lines(spec.name)
    lines = f"; its last lines:\n{indented(printed)}" if printed else "; it printed nothing"
    return DeadlineError(
        f"the container of image {spec.image!r} did not answer on port {spec.port} within its startup_timeout_s of"
        f" {timeout_s:g} s: {seen}{lines}",
        hint=f"is it served on 0.0.0.0:{spec.port}? DockerRuntime(…, port=…) is another port,"
        " limits.startup_timeout_s more time",
    )


async def _in_thread(function: Callable[..., _Result], *arguments: object) -> _Result:
    return await asyncio.wrap_future(_looks.submit(function, *arguments))


# Threads of three kinds, so that a queue of starts holds up neither a removal nor a look. They are made on first use.
_starts = ThreadPoolExecutor(_STARTS_AT_ONCE, thread_name_prefix="hud-docker-start")
_looks = ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="hud-docker-look")
_removing = ThreadPoolExecutor(_REMOVALS_AT_ONCE, thread_name_prefix="hud-docker-remove")


class _Removals:
    """The containers of one runtime that are on their way out. The interpreter's exit waits for them."""

    def __init__(self) -> None:
        self._pending: set[Future[None]] = set()

    def add(self, name: str, *, after: Future[Started]) -> Future[None]:
        """Remove a container as soon as nothing is being done to make it."""
        done: Future[None] = Future()
        self._pending.add(done)
        done.add_done_callback(self._pending.discard)

        def begin(launched: Future[Started]) -> None:
            if launched.cancelled():  # it never left the queue
                _live.discard(name)
                done.set_result(None)
                return
            try:
                _removing.submit(self._remove, name, done)
            except RuntimeError:  # the interpreter is going: its threads take nothing new, but this one still runs
                self._remove(name, done)

        after.add_done_callback(begin)
        return done

    def _remove(self, name: str, done: Future[None]) -> None:
        try:
            remove(name)
        except HudError as error:
            _log.warning("container %s is left: %s (hud cleanup removes it)", name, error)
        finally:
            _live.discard(name)
            done.set_result(None)

    async def fewer_than(self, count: int) -> None:
        """Wait until so many at most are under way: containers must not pile up faster than they go."""
        while len(self._pending) >= count:
            await asyncio.wait(self._waiting(), return_when=asyncio.FIRST_COMPLETED)

    async def drained(self) -> None:
        """Wait until all are gone; giving up the wait does not give up the removals."""
        while self._pending:
            await asyncio.wait(self._waiting())

    def _waiting(self) -> list[asyncio.Future[None]]:
        return [asyncio.wrap_future(future) for future in tuple(self._pending)]


class _Live:
    """The containers of this process that may exist; those still there when it exits are removed then."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._registered = False

    def add(self, name: str) -> None:
        if not self._registered:
            self._registered = True
            atexit.register(self._remove_all)
        self._names[name] = os.getpid()

    def discard(self, name: str) -> None:
        self._names.pop(name, None)

    def _remove_all(self) -> None:
        """For an event loop that was stopped without being closed; a forked child leaves its parent's alone."""
        for name, pid in tuple(self._names.items()):
            if pid == os.getpid():
                try:
                    remove(name)
                except HudError as error:
                    _log.warning("container %s is left: %s (hud cleanup removes it)", name, error)


_live = _Live()
