"""Build an image with the Docker client's BuildKit, and push it.

Limits of one build: its time and its cancellation are the caller's (cancelling the call ends the client, and with it
what runs in the engine). Free disk is watched here. Memory is the engine's matter: BuildKit takes a limit for each
process of a step (`--ulimit data=…`), since engine 23; older ones have none to give.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hud.errors import HudError, NotFoundError, UsageError
from hud.eval.runtimes.docker_connection import translated
from hud.eval.runtimes.docker_engine import EngineInfo, build_client, engine, engine_info
from hud_platform.builds.build_log import LogWriter
from hud_platform.builds.build_progress import Lines, Progress
from hud_platform.builds.build_secrets import secret_flags
from hud_platform.builds.masking import Masker
from hud_platform.builds.processes import Child, running

__all__ = ["BuildPlan", "BuiltImage", "build", "dockerfile_of", "follow", "inspect", "push"]

DOCKERFILES = ("Dockerfile.hud", "Dockerfile")

SOURCE_DATE_EPOCH = "1577836800"
"""The time in an image, where BuildKit knows to put it there, so that the same context gives the same digest."""

_FIRST_ENGINE_WITH_ULIMITS = 23
_LOOK_AT_DISK_EVERY_S = 2.0

_BASE_IMAGE_HINT = "is the name of the base image right, and can the platform's engine pull it?"
_HINTS = (
    ("no space left on device", "docker system df; hud platform gc"),
    ("failed to resolve source metadata", _BASE_IMAGE_HINT),
    ("pull access denied", _BASE_IMAGE_HINT),
    ("dockerfile parse error", "docker build -f Dockerfile.hud . shows it on your machine too"),
    ("secret", "hud deploy --secret id=NAME,env=VARIABLE"),
)


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """One image to build.

    Attributes:
        folder: The context.
        tag: The reference the image gets.
        labels: What it says of itself: nothing that differs between two builds of the same context.
        build_args: Values by name, over those of the platform.
        secrets: Content by id; never in the image, the log or a file.
        no_cache: Whether every step runs again.
        memory_mb: The most that one process of a step may have.
        free_disk_mb: Disk that has to stay free, for the engine and for the platform.
    """

    folder: Path
    tag: str
    labels: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    memory_mb: int | None = None
    free_disk_mb: int = 0


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image on the engine.

    Attributes:
        image: The reference that finds it.
        digest: Of its manifest once it was pushed, else the engine's id of it.
    """

    image: str
    digest: str
    size_bytes: int


async def build(plan: BuildPlan, log: LogWriter, masker: Masker) -> BuiltImage:
    """Build an image and give what came of it; its progress goes to the log.

    Raises:
        HudError: It does not build; the message has the step and its last lines.
        NotFoundError: The context has no Dockerfile, or there is no client with BuildKit here.
        UsageError: The Dockerfile or the ignore file lies outside the context.
        UnreachableError: No engine answers.
    """
    dockerfile = dockerfile_of(plan.folder)
    client, info = await asyncio.gather(_client(), asyncio.to_thread(engine_info))
    _check_disk(plan, info)
    if plan.memory_mb is not None and _major(info.version) < _FIRST_ENGINE_WITH_ULIMITS:
        log.status(f"The Docker engine {info.version} cannot limit the memory of a build")
    with secret_flags(plan.secrets) as secrets:
        command = [client.path, *_flags(plan, client, dockerfile), *secrets, str(plan.folder)]
        async with running(command, env=_environment()) as child:
            await _read_build(plan, info, child, log, masker)
    return await inspect(plan.tag)


async def push(image: str, log: LogWriter, masker: Masker) -> BuiltImage:
    """Push an image of the engine to the registry that its reference names, and give its digest there.

    Raises:
        HudError: The registry refuses it, or does not answer.
    """
    client = await _client()
    lines = Lines(masker)
    last = ""
    async with running([client.path, "push", image], env=_environment()) as child:
        async for chunk in child.chunks():
            for line in lines.feed(chunk):
                last = line.strip() or last
                log.line(line, step=f"push {image}")
        code = await child.exit_code()
    if code != 0:
        raise HudError(f"the image cannot be pushed to {image}: {last}", hint=f"docker login; docker push {image}")
    return await inspect(image, pushed=True)


async def inspect(image: str, *, pushed: bool = False) -> BuiltImage:
    """Give an image of the engine.

    Raises:
        NotFoundError: The engine has none of that name.
    """

    def ask() -> BuiltImage:
        with translated(image=image):
            facts: dict[str, Any] = engine().inspect_image(image)  # type: ignore[no-untyped-call]
        digest, reference = facts["Id"], image
        repository = image.rpartition(":")[0]
        for known in facts.get("RepoDigests") or () if pushed else ():
            if known.startswith(f"{repository}@"):
                digest, reference = known.partition("@")[2], known
        return BuiltImage(image=reference, digest=digest, size_bytes=int(facts["Size"]))

    return await asyncio.to_thread(ask)


def dockerfile_of(folder: Path) -> Path:
    """Give the Dockerfile of a context: `Dockerfile.hud`, else `Dockerfile`.

    Raises:
        NotFoundError: It has neither.
        UsageError: It, or the ignore file, is a link to a file of the platform's own machine.
    """
    for name in DOCKERFILES:
        path = folder / name
        if os.path.lexists(path):
            break
    else:
        raise NotFoundError(
            f"the context has no {' and no '.join(DOCKERFILES)}", hint="hud init writes one; is it in .dockerignore?"
        )
    # The client reads these itself, on this machine, and shows lines of what it cannot parse.
    for read in (path, folder / f"{path.name}.dockerignore", folder / ".dockerignore"):
        if os.path.lexists(read) and not read.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{read.name} is a link that leads out of the context", hint="deploy the file itself")
    if not path.is_file():
        raise UsageError(f"{path.name} is no file")
    return path


@dataclass(frozen=True)
class _Client:
    path: str
    has_buildx: bool


async def _client() -> _Client:
    global _found
    if _found is None:
        _found = await asyncio.to_thread(_find_client)
    return _found


_found: _Client | None = None  # one that was found stays; one that is missing may be installed meanwhile


def _find_client() -> _Client:
    path = build_client()
    if path is None:
        raise NotFoundError(
            "the platform's machine has no docker client with BuildKit",
            hint="install the buildx plugin (docker-buildx-plugin, or Debian's docker.io), then: hud deploy",
        )
    asked = subprocess.run([path, "buildx", "version"], capture_output=True, timeout=20, check=False)
    return _Client(path, has_buildx=asked.returncode == 0)


def _environment() -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "NO_COLOR": "1"}


def _flags(plan: BuildPlan, client: _Client, dockerfile: Path) -> list[str]:
    arguments = {"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, **plan.build_args}
    flags = ["build", "--progress=plain", f"--file={dockerfile}", f"--tag={plan.tag}"]
    flags += [f"--label={name}={value}" for name, value in plan.labels.items()]
    flags += [f"--build-arg={name}={value}" for name, value in arguments.items()]
    if client.has_buildx:
        flags.append("--load")  # a builder in a container would keep the image to itself
    if plan.no_cache:
        flags.append("--no-cache")
    if plan.memory_mb is not None:
        flags.append(f"--ulimit=data={plan.memory_mb * 2**20}")
    return flags


async def _read_build(plan: BuildPlan, info: EngineInfo, child: Child, log: LogWriter, masker: Masker) -> None:
    watching = asyncio.create_task(_watch_disk(plan, info))
    reading = asyncio.create_task(follow(child, log, masker))
    try:
        await asyncio.wait((watching, reading), return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        else:
            watching.result()
    finally:
        for task in (watching, reading):
            task.cancel()
        await asyncio.gather(watching, reading, return_exceptions=True)


async def follow(child: Child, log: LogWriter, masker: Masker) -> None:
    """Write what `docker build --progress=plain` prints to a log, to its end.

    Raises:
        HudError: It failed; the message has the step and its last lines.
    """
    lines, progress = Lines(masker), Progress()

    def write(read: list[str]) -> None:
        for line in read:
            said = progress.read(line)
            if said is not None:
                log.line(said.text, step=said.step, kept=said.kind != "output", ended=said.kind == "end")

    async for chunk in child.chunks():
        write(lines.feed(chunk))
    write(lines.end())
    if await child.exit_code() != 0:
        raise _failure(progress)


def _failure(progress: Progress) -> HudError:
    said = progress.last_lines(None)
    if progress.failed_step is not None:
        message = f"the build failed at {progress.failed_step}: {progress.error}"
        said = progress.last_lines(progress.failed_step)
    else:
        message = f"the image does not build: {said.pop() if said else 'docker gave no reason'}"
    if said:
        message += "; its last lines:\n" + "\n".join(f"  {line}" for line in said)
    lowered = message.lower()
    return HudError(message, hint=next((hint for words, hint in _HINTS if words in lowered), None))


async def _watch_disk(plan: BuildPlan, info: EngineInfo) -> None:
    while True:
        await asyncio.sleep(_LOOK_AT_DISK_EVERY_S)
        _check_disk(plan, info)


def _check_disk(plan: BuildPlan, info: EngineInfo) -> None:
    folders = [plan.folder]
    if info.endpoint.is_local and os.path.isdir(info.root_folder):
        folders.append(Path(info.root_folder))
    for folder in folders:
        with suppress(FileNotFoundError):
            disk = os.statvfs(folder)
            free_mb = disk.f_bavail * disk.f_frsize // 2**20
            if free_mb < plan.free_disk_mb:
                raise HudError(
                    f"the platform's disk has {free_mb} MB free, and a build may not leave less than"
                    f" {plan.free_disk_mb} MB",
                    hint="hud platform gc; docker system prune",
                )


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdecimal() else _FIRST_ENGINE_WITH_ULIMITS
