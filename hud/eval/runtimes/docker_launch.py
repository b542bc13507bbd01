"""Start a container: by the engine's API, or by the `docker` command when flags of its own are wanted."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hud.errors import DeadlineError, HudError, RuntimeStartError, UsageError
from hud.eval.config import RuntimeResources
from hud.eval.runtimes import ownership
from hud.eval.runtimes.docker_connection import (
    CALL_TIMEOUT_S,
    INSTALL_HINT,
    SERVE_HINT,
    cannot_run,
    docker_command,
    engine,
    engine_size,
    explain,
    translated,
)
from hud.eval.runtimes.docker_containers import ContainerState, last_lines, read_state, remove
from hud.wire import TOKEN_VARIABLE

__all__ = [
    "PIDS_LIMIT",
    "SECURITY_OPTIONS",
    "ContainerSpec",
    "Started",
    "container_name",
    "ended",
    "indented",
    "launch",
    "run_detached",
    "split_name",
]

SECURITY_OPTIONS = ("no-new-privileges",)
"""What every container gets beside the engine's default profile. `run_args` may loosen it, flag by flag."""

PIDS_LIMIT = 4096
"""Processes and threads in one container: enough for a browser or a parallel build, not for a fork bomb."""

_ENV_FILE_LINE_BYTES = 32 * 1024
_LAST_WORDS_S = 0.3

# What Docker's init (tini) and Podman's (catatonit) say in place of the engine when the command is not there.
_INIT_REFUSED = re.compile(
    r"(?:\[FATAL tini \(\d+\)\] exec .+ failed|ERROR \(catatonit:\d+\): failed to exec pid1): (.+)"
)


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """One container to start.

    Attributes:
        image: Reference of an image that the engine has; nothing is pulled.
        name: Known before the container exists, so that it can be removed whenever starting is given up.
        port: The port inside that will be connected to, or None.
        published: Whether it is published on an ephemeral port of 127.0.0.1; else it is reached at the container's own
            address. With `run_args` it is published in any case, because they may choose another network.
        env: Environment variables over the image's.
        labels: Owner and age, as `ownership.labels` gives them.
        resources: CPU, memory and GPUs.
        run_args: Flags of `docker run`; with any, the `docker` command creates the container.
    """

    image: str
    name: str
    port: int | None = None
    published: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: RuntimeResources = RuntimeResources()
    run_args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Started:
    """A container that runs, and where its port is reached.

    Attributes:
        host: 127.0.0.1 for a published port, else the container's own address.
        port: The port there; 0 when none was asked for.
        own_address: The container's address in its network, and `gateway` the engine's there; empty when it has none.
    """

    name: str
    host: str = ""
    port: int = 0
    own_address: str = ""
    gateway: str = ""


def container_name() -> str:
    """Give a new name for a container of ours."""
    return f"hud-{secrets.token_hex(6)}"


def launch(spec: ContainerSpec, *, gpu_ids: Sequence[str] = (), given_up: Callable[[], bool] = bool) -> Started:
    """Create and start a container, and find the address of its port.

    Whoever calls this removes `spec.name` afterwards, whether it returns or raises: a container that could not be
    started is there all the same.

    Args:
        spec: Which one.
        gpu_ids: The engine's ids of the GPUs to give, where the spec asks for a type; else its count is given.
        given_up: Asked between the steps; when true, the rest is left undone.

    Raises:
        NotFoundError: The engine lacks the image.
        UsageError: It cannot give the resources, or refuses the flags.
        RuntimeStartError: It could not run the command, the container ended at once (its last lines are in the
            message), its network publishes nothing, or the engine's disk is full.
        UnreachableError: No engine answers.
    """
    _refuse_more_than_there_is(spec.resources)
    if spec.run_args:
        _run_by_command(spec, gpu_ids)
    else:
        _create(spec, gpu_ids)
        if not given_up():
            with translated(image=spec.image, container=spec.name):
                engine().start(spec.name)
    if spec.port is None or given_up():
        return Started(spec.name)
    with translated(container=spec.name):
        facts = engine().inspect_container(spec.name)
    if not facts["State"]["Running"]:
        raise ended(spec, read_state(facts))
    return _address(spec, facts)


def _refuse_more_than_there_is(resources: RuntimeResources) -> None:
    """Refuse limits that are no limits: Docker takes any amount of memory, Podman any number of processors."""
    if resources.cpu is None and resources.memory_mb is None:
        return
    size = engine_size()
    memory_mb = size.memory_bytes // (1024 * 1024)
    for name, wanted, there in (("cpu", resources.cpu, size.cpus), ("memory_mb", resources.memory_mb, memory_mb)):
        if wanted is not None and there and wanted > there:
            raise UsageError(
                f"the Docker engine cannot give resources.{name} of {wanted}: it has {there}",
                hint="ask for less, or run on a larger machine",
            )


def _create(spec: ContainerSpec, gpu_ids: Sequence[str]) -> None:
    client = engine()
    resources = spec.resources
    limits: dict[str, Any] = {}
    if resources.cpu is not None:
        limits["nano_cpus"] = round(resources.cpu * 1e9)
    if resources.memory_mb is not None:
        # The same figure for memory and swap together: a limit that swaps is a limit nobody notices.
        limits["mem_limit"] = limits["memswap_limit"] = resources.memory_mb * 1024 * 1024
    if resources.gpu is not None:
        from docker.types import DeviceRequest

        wanted = {"device_ids": list(gpu_ids)} if gpu_ids else {"count": resources.gpu.count}
        limits["device_requests"] = [DeviceRequest(capabilities=[["gpu"]], **wanted)]
    publishes = spec.port is not None and spec.published
    if publishes:
        limits["port_bindings"] = {spec.port: ("127.0.0.1",)}
    with translated(image=spec.image, container=spec.name):
        client.create_container(
            spec.image,
            name=spec.name,
            environment=dict(spec.env),
            labels=dict(spec.labels),
            ports=[spec.port] if publishes else None,
            host_config=client.create_host_config(
                init=True, security_opt=list(SECURITY_OPTIONS), pids_limit=PIDS_LIMIT, **limits
            ),
            use_config_proxy=True,
        )


def _run_by_command(spec: ContainerSpec, gpu_ids: Sequence[str]) -> None:
    """Create and start by the `docker` command, so that every flag of `docker run` works."""
    flags = ["run", "--detach", "--pull=never", f"--name={spec.name}", "--init", f"--pids-limit={PIDS_LIMIT}"]
    flags += [f"--security-opt={option}" for option in SECURITY_OPTIONS]
    flags += [f"--label={name}={value}" for name, value in spec.labels.items()]
    if spec.port is not None:
        flags.append(f"--publish=127.0.0.1::{spec.port}")
    if spec.resources.cpu is not None:
        flags.append(f"--cpus={spec.resources.cpu:g}")
    if spec.resources.memory_mb is not None:
        flags += [f"--memory={spec.resources.memory_mb}m", f"--memory-swap={spec.resources.memory_mb}m"]
    if gpu_ids:
        flags.append(f'--gpus="device={",".join(gpu_ids)}"')
    elif spec.resources.gpu is not None:
        flags.append(f"--gpus={spec.resources.gpu.count}")
    # Values go through a pipe: arguments are for every local user to read, and these hold tokens and keys.
    lines: list[str] = []
    for name, value in spec.env.items():
        if os.name == "nt" or "\n" in value or "\r" in value or len(value) > _ENV_FILE_LINE_BYTES:
            flags.append(f"--env={name}={value}")
        else:
            lines.append(f"{name}={value}\n")
    if lines:
        flags.append("--env-file=/dev/stdin")
    try:
        done = subprocess.run(
            [docker_command(), *flags, *spec.run_args, spec.image],
            input="".join(lines).encode(),
            capture_output=True,
            timeout=CALL_TIMEOUT_S,
            check=False,
            # Ctrl-C on a terminal goes to the whole group: ended halfway, it would not say what it has made.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(f"`docker run` did not end within {CALL_TIMEOUT_S} s", hint="docker info") from error
    if done.returncode != 0:
        raise explain(done.stderr.decode(errors="replace"), image=spec.image, container=spec.name)


def _address(spec: ContainerSpec, facts: Mapping[str, Any]) -> Started:
    network, port = facts["NetworkSettings"], spec.port or 0
    networks = (network.get("Networks") or {}).values()
    attached: Mapping[str, str] = next((each for each in networks if each.get("IPAddress")), {})
    own_address, gateway = attached.get("IPAddress", ""), attached.get("Gateway", "")
    for bound in (network.get("Ports") or {}).get(f"{port}/tcp") or []:
        if bound["HostIp"] in ("127.0.0.1", "0.0.0.0", ""):  # noqa: S104  # read, not bound
            return Started(spec.name, "127.0.0.1", int(bound["HostPort"]), own_address, gateway)
    if facts["HostConfig"].get("NetworkMode") == "host":
        return Started(spec.name, "127.0.0.1", port)
    # An internal network publishes nothing either, but on Linux its addresses are reached from the host.
    if own_address:
        return Started(spec.name, own_address, port, own_address, gateway)
    raise RuntimeStartError(
        f"the container of image {spec.image!r} has no address: its network publishes no port {port}",
        hint="drop --network from the run_args, or use a bridge network",
    )


def run_detached(
    image: str,
    *,
    name: str | None = None,
    kept: bool = True,
    env: Mapping[str, str] | None = None,
    run_args: Sequence[str] = (),
) -> str:
    """Start a container for the exec API, without a published port, and give its name.

    Args:
        image: An image that the engine has.
        name: Its name; by default a new one.
        kept: Whether it may outlive this process; `hud cleanup` then lists it as kept.
        env: Environment variables over the image's. A channel token of its own is added.
        run_args: Flags of `docker run`.

    Raises:
        NotFoundError: The engine lacks the image.
        UsageError: The name is taken, or the flags are refused.
        RuntimeStartError: It does not start.
        UnreachableError: No engine answers.

    Whatever it raises, KeyboardInterrupt included, nothing is left of the container.
    """
    flags, named = split_name(run_args)
    spec = ContainerSpec(
        image=image,
        name=name or named or container_name(),
        env={TOKEN_VARIABLE: secrets.token_urlsafe(24), **(env or {})},
        labels=ownership.labels(kept=kept),
        run_args=flags,
    )
    given_up = threading.Event()
    # In a thread, because an interrupted call leaves the engine at work: only after its end is it known what to remove.
    # Leaving the block waits for the thread, and when that wait is interrupted, the interpreter's exit does.
    with ThreadPoolExecutor(1) as starter:
        starter.submit(bool).result()  # interrupted while it starts its thread, it would not wait for it
        try:
            starter.submit(launch, spec, given_up=given_up.is_set).result()
        except BaseException:
            given_up.set()
            starter.submit(_remove_own, spec.name)
            raise
    return spec.name


def _remove_own(name: str) -> None:
    """Remove a container of a name that somebody else may have taken before, if this process made it."""
    with suppress(HudError):  # the first error is the one to show
        with translated(container=name):
            facts = engine().inspect_container(name)
        if (facts["Config"].get("Labels") or {}).get(ownership.OWNER_LABEL) == ownership.owner_label():
            remove(name)


def split_name(run_args: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """Take `--name` out of flags for `docker run`, because the container's name is decided before they are used."""
    kept: list[str] = []
    name: str | None = None
    flags = iter(run_args)
    for flag in flags:
        if flag == "--name":
            name = next(flags, None)
            if name is None:
                raise UsageError("run_args end with --name and no name")
        elif flag.startswith("--name="):
            name = flag.removeprefix("--name=")
        else:
            kept.append(flag)
    return tuple(kept), name


def ended(spec: ContainerSpec, now: ContainerState) -> RuntimeStartError:
    """Describe a container that is no longer running before its control channel answered."""
    printed = last_lines(spec.name)
    if not printed:  # an engine may tell the end of a container before it has read all it printed
        time.sleep(_LAST_WORDS_S)
        printed = last_lines(spec.name)
    if refused := _INIT_REFUSED.search(printed):
        return cannot_run(spec.image, f"{' '.join(now.command[:1])}: {refused[1]}")
    why = "was killed for want of memory" if now.out_of_memory else f"exited with code {now.exit_code}"
    message = f"the container of image {spec.image!r} {why} before its control channel answered"
    if not printed:
        message += f"; it printed nothing, and its command is {' '.join(now.command) or 'not set'!r}"
        return RuntimeStartError(message, hint=SERVE_HINT)
    without_hud = any(sign in printed for sign in ("No module named hud", "No module named 'hud", "hud: not found"))
    hint = INSTALL_HINT if without_hud else f"docker run --rm {spec.image}"
    return RuntimeStartError(f"{message}; its last lines:\n{indented(printed)}", hint=hint)


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
