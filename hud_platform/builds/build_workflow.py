"""The durable workflow of a build: context, image, registry, smoke start, version.

DBOS keeps which steps are done; a server that was killed goes on with the first that is not. What it keeps is the
build's id and what the steps gave: no secret, no variable. The records are in the platform's own database, so a build
that DBOS does not know of, or gave up, is found there at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos import error as dbos_errors
from sqlalchemy import URL, Row, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hud.errors import HudError
from hud.eval.config import RuntimeConfig
from hud.platform.records import ENDED_STATUSES, Manifest
from hud_platform.builds import builder, builds, environments, smoke
from hud_platform.builds.build_log import BuildLog, LogWriter
from hud_platform.builds.build_turns import Turns
from hud_platform.builds.builder import BuildPlan, BuiltImage
from hud_platform.builds.builds import Ended, Unfinished
from hud_platform.builds.environments import NewVersion
from hud_platform.builds.masking import Masker
from hud_platform.contexts import worktrees
from hud_platform.storage.tables import environments as environment_table

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["Builds", "running_builds"]

# Not DBOS's own digest of the code, by which builds under way would be lost in an upgrade: the steps' names, order and
# results stay as they are.
_VERSION = "1"
_MOST_ATTEMPTS = 100  # by then it is the build that kills the server
_AGAIN_S = (1.0, 2.0, 5.0, 10.0, 30.0)

_log = logging.getLogger("hud_platform.builds")


class BuildFailed(HudError):
    """A step that ended the build. DBOS keeps it, so it has nothing but its message, which is masked."""


@dataclass
class _Run:
    """One build in this process."""

    task: asyncio.Task[Any]
    limit: asyncio.Timeout
    is_stopped: bool = False

    def stop(self) -> None:
        self.is_stopped = True
        with suppress(RuntimeError):  # it is ending already
            self.limit.reschedule(asyncio.get_running_loop().time())


class Builds:
    """The builds of a running platform."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._turns = turns = Turns(backend.config.builds_at_once)
        backend.metrics.builds_running.set_function(lambda: turns.running)
        backend.metrics.builds_queued.set_function(lambda: turns.waiting)
        self._runs: dict[uuid.UUID, _Run] = {}
        self._is_closing = False

    async def launch(self, build: Unfinished) -> None:
        """Start the workflow of a build that was begun."""
        self._turns.expect(build.id, build.environment_id)
        with SetWorkflowID(str(build.id)):
            await DBOS.start_workflow_async(_build, str(build.id))

    def stop(self, build_id: uuid.UUID) -> None:
        """Have a build stop that was asked to; one that is not here does when it comes back."""
        run = self._runs.get(build_id)
        if run is not None:
            run.stop()

    async def expect_unfinished(self) -> list[Unfinished]:
        """Give the builds that a last server left, each in its place in the queue."""
        left = await builds.unfinished(self._backend)
        for build in left:
            self._turns.expect(build.id, build.environment_id)
        return left

    async def resume(self, left: list[Unfinished]) -> None:
        """Start those that DBOS does not bring back by itself."""
        for build in left:
            known = await DBOS.get_workflow_status_async(str(build.id))
            if known is None:
                await self.launch(build)
            elif known.status not in ("PENDING", "ENQUEUED"):
                await self._end(build.id, Ended(status="FAILED", error_message=_gave_up(known.status)))
                self._turns.leave(build.id)

    async def close(self) -> None:
        """Leave every build where it is, to be resumed; their processes and containers end."""
        self._is_closing = True
        tasks = [run.task for run in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self, build_id: uuid.UUID) -> None:
        """Run a build to its end: whatever happens in it, it ends."""
        if self._is_closing:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        run = self._runs[build_id] = _Run(task, asyncio.timeout(None))  # before the row is read, lest a stop be missed
        try:
            await self._run(build_id, run)
        finally:
            self._runs.pop(build_id, None)
            self._turns.leave(build_id)
        await asyncio.to_thread(self._clean_up, build_id)

    async def _run(self, build_id: uuid.UUID, run: _Run) -> None:
        log = self._backend.logs.of(build_id)
        row = await builds.find(self._backend, build_id)
        if row.status in ENDED_STATUSES:  # the last server was killed between that and the workflow's own end
            return
        self._turns.expect(build_id, row.environment_id)
        try:
            async with run.limit:
                if row.cancel_requested or run.is_stopped:
                    run.stop()
                ended = await self._take_turn(row, run.limit, log)
        except TimeoutError as error:
            ended = self._cut_short(run) if run.limit.expired() else _failed(error)
        except HudError as error:
            ended = _failed(error)
        except DBAPIError as error:
            _log.error("build %s: %s", build_id, error.orig)
            ended = Ended(status="FAILED", error_message=f"the platform's database cannot be written: {error.orig}")
        except Exception as error:  # noqa: BLE001  # a defect of ours ends the build, not the workflow
            _log.exception("build %s", build_id)
            ended = Ended(status="FAILED", error_message=f"the platform met a defect of its own: {error!r}"[:1000])
        if ended is not None:
            await self._end(build_id, ended)
        log.end()
        status = ended.status if ended else "SUCCEEDED"
        self._backend.metrics.builds.labels(status).inc()
        _log.info("build %s %s", build_id, status)

    def _cut_short(self, run: _Run) -> Ended:
        if run.is_stopped:
            return Ended(status="STOPPED", error_message="the build was cancelled")
        limit_s = self._backend.config.build_timeout_s
        return Ended(status="TIMED_OUT", error_message=f"the build did not end within {limit_s:g} s")

    async def _take_turn(self, row: Row[Any], limit: asyncio.Timeout, log: BuildLog) -> Ended | None:
        """Wait for the turn and use it; None when the build made a version."""
        config, build_id, is_resumed = self._backend.config, row.id, row.started_at is not None
        with LogWriter(log, limit_bytes=config.log_limit_bytes) as writer:
            if not self._turns.arrive(build_id):
                if not writer.frames:
                    writer.status("Waiting for earlier builds")
                await self._turns.wait(build_id)
            row = await builds.begin(self._backend, build_id)
            limit.reschedule(asyncio.get_running_loop().time() + config.build_timeout_s)
            build = await _Build.of(self._backend, row, writer)
            try:
                return await build.run(is_resumed=is_resumed)
            except asyncio.CancelledError:
                with suppress(HudError):  # the disk is full: what is lost is this line
                    if self._is_closing:
                        writer.status("The platform is stopping; the build goes on when it is back")
                    else:
                        writer.status("The build is stopped")
                raise

    async def _end(self, build_id: uuid.UUID, how: Ended) -> None:
        """End a build, and try until it is: a database that is busy or full would leave it running for ever."""
        for pause_s in (*_AGAIN_S, *[_AGAIN_S[-1]] * 1000):
            try:
                await builds.end(self._backend, build_id, how)
            except Exception as error:  # noqa: BLE001  # whatever the database has
                _log.warning("build %s has ended, but that cannot be written: %s", build_id, error)
                await asyncio.sleep(pause_s)
            else:
                return

    def _clean_up(self, build_id: uuid.UUID) -> None:
        """Remove what only the build needed."""
        (self._backend.data.uploads / f"{build_id}.tar.gz").unlink(missing_ok=True)


@dataclass(kw_only=True)
class _Build:
    """One build whose turn it is."""

    backend: Backend
    row: Row[Any]
    environment: Row[Any]
    secrets: dict[str, str]
    variables: dict[str, str]
    masker: Masker
    log: LogWriter

    @classmethod
    async def of(cls, backend: Backend, row: Row[Any], log: LogWriter) -> _Build:
        environment = await backend.reader.one(
            select(environment_table).where(environment_table.c.id == row.environment_id)
        )
        assert environment is not None
        secrets = builds.secrets_of(backend, row)
        async with backend.database.connect() as connection:
            variables = await environments.variables(connection, backend.vault, environment.id)
        masker = Masker(secrets.values(), variables.values())
        return cls(
            backend=backend,
            row=row,
            environment=environment,
            secrets=secrets,
            variables=variables,
            masker=masker,
            log=log,
        )

    async def run(self, *, is_resumed: bool) -> Ended | None:
        """Take the steps that are not done yet; None when the build made a version."""
        if is_resumed:
            self.log.status("The platform was restarted; the build goes on")
            await smoke.remove_leftovers(self.tag)
        try:
            built = msgspec.convert(await self._step("image", self._image), BuiltImage)
            if self.backend.config.registry is not None:
                built = msgspec.convert(await self._step("push", self._push), BuiltImage)
            manifest = msgspec.convert(await self._step("smoke", self._smoke), Manifest)
        except BuildFailed as error:
            for line in str(error).splitlines():
                self.log.line(line, kept=True)
            return Ended(status="FAILED", error_message=str(error))
        new = NewVersion(
            image=built.image,
            digest=built.digest,
            size_bytes=built.size_bytes,
            manifest=manifest,
            build_id=self.row.id,
            context_digest=self.row.context_digest,
            source_revision=self.row.source_revision,
        )
        self.log.status(f"Registering {self.environment.name}")
        self.log.flush()
        if await builds.succeed(self.backend, self.row.id, new) is None:
            return Ended(status="STOPPED", error_message="the build was cancelled")
        return None

    @property
    def tag(self) -> str:
        """The image's reference. By the build and not by the version: no two platforms of one engine share it."""
        registry = self.backend.config.registry
        repository = f"{registry}/{self.environment.name}" if registry else f"hud/{self.environment.name}"
        return f"{repository}:{self.row.id}"

    async def _step(self, name: str, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Run a step once and for all: when the server is killed after it, its result is there, or its error."""

        async def step() -> dict[str, Any]:
            try:
                return await work()
            except (HudError, OSError) as error:
                hint = getattr(error, "hint", None)
                message = f"{error}\n{hint}" if hint else str(error)
                raise BuildFailed(self.masker.mask(message)) from None

        return await DBOS.run_step_async({"name": name}, step)

    async def _image(self) -> dict[str, Any]:
        config, row = self.backend.config, self.row
        self.log.status("Preparing the context")
        labels = {
            "hud.environment": self.environment.name,
            "hud.environment.id": str(self.environment.id),
            "hud.context": row.context_digest,
            "org.opencontainers.image.revision": row.source_revision,
        }
        plan = BuildPlan(
            folder=await self._context(),
            tag=self.tag,
            labels={name: value for name, value in labels.items() if value},
            build_args=row.build_args,
            secrets=self.secrets,
            no_cache=row.no_cache,
            memory_mb=config.build_memory_mb,
            free_disk_mb=config.free_disk_mb,
        )
        self.log.status("Building the image")
        return asdict(await builder.build(plan, self.log, self.masker))

    async def _context(self) -> Path:
        backend, row = self.backend, self.row
        if row.context_digest is None:
            return await worktrees.from_archive(backend, row.environment_id, row.id)
        return await worktrees.from_context(backend, row.environment_id, row.context_digest)

    async def _push(self) -> dict[str, Any]:
        self.log.status(f"Pushing {self.tag}")
        return asdict(await builder.push(self.tag, self.log, self.masker))

    async def _smoke(self) -> dict[str, Any]:
        self.log.status("Starting the image once, to ask for its tasks")
        stored = self.environment.runtime_config
        manifest = await smoke.manifest_of(
            self.tag,
            variables=self.variables,
            runtime_config=None if stored is None else RuntimeConfig.from_dict(stored),
        )
        self.log.status(_summary(manifest))
        return asdict(manifest)


def _failed(error: Exception) -> Ended:
    return Ended(status="FAILED", error_message=str(error))


def _summary(manifest: Manifest) -> str:
    tasks = ", ".join(task.id for task in manifest.tasks) or "none"
    capabilities = ", ".join(capability.name for capability in manifest.capabilities) or "none"
    return f"It answers; tasks: {tasks}; capabilities: {capabilities}"


def _gave_up(status: str) -> str:
    if status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return f"the platform ended {_MOST_ATTEMPTS} times during this build"
    return f"the build's workflow ended as {status}, without a word"


# DBOS knows one application a process: its workflows are functions of a module, and find their platform here.
_current: Builds | None = None


@DBOS.workflow(name="build", max_recovery_attempts=_MOST_ATTEMPTS)
async def _build(build_id: str) -> None:
    assert _current is not None
    await _current.run(uuid.UUID(build_id))


@asynccontextmanager
async def running_builds(backend: Backend) -> AsyncIterator[Builds]:
    """Run the builds of a platform: those a last server left first; leaving leaves them for the next.

    Raises:
        HudError: The database of the workflows cannot be used.
    """
    global _current
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
    config: DBOSConfig = {
        "name": "hud-platform",
        "system_database_url": _address(backend),
        "application_version": _VERSION,
        "log_level": "CRITICAL",
    }
    of_this = Builds(backend)
    backend.builds = _current = of_this
    loop = asyncio.get_running_loop()
    try:
        left = await of_this.expect_unfinished()
        try:
            DBOS(config=config)
            DBOS.launch()
        except (dbos_errors.DBOSException, SQLAlchemyError) as error:
            raise HudError(
                f"the database of the workflows cannot be used: {error}", hint="hud platform restore"
            ) from error
        await of_this.resume(left)
        yield of_this
    finally:
        await of_this.close()
        with ThreadPoolExecutor(1) as apart:  # it joins threads that poll, and takes the loop's own executor with it
            await loop.run_in_executor(apart, DBOS.destroy)
        loop.set_default_executor(ThreadPoolExecutor())
        _current = None


def _address(backend: Backend) -> str:
    if backend.config.database_url is None:
        # Quoted: a folder's name may hold what ends a path in a URL.
        return URL.create("sqlite", database=str(backend.data.workflows)).render_as_string()
    return backend.config.database_url
