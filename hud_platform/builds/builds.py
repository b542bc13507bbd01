"""Builds as records: begun once by their id, looked at while they run, ended once. `build_workflow` runs them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, Select, func, select, update
from sqlalchemy.exc import IntegrityError

from hud.errors import NotFoundError, UsageError
from hud.eval.config import RuntimeConfig
from hud.platform.records import (
    ENDED_STATUSES,
    BuildRecord,
    BuildRequest,
    BuildStarted,
    BuildStatus,
    Cancelled,
    Manifest,
)
from hud_platform import projects
from hud_platform.builds import environments
from hud_platform.builds.environments import NewVersion
from hud_platform.contexts import contexts, uploads
from hud_platform.storage.tables import builds, versions
from hud_platform.storage.tables import environments as environment_table
from hud_platform.web import ids
from hud_platform.web.pages import Listing
from hud_platform.web.refusals import Conflict
from hud_platform.web.times import aware, now, stamp

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.access.keys import Caller
    from hud_platform.backend import Backend

__all__ = [
    "Ended",
    "Unfinished",
    "begin",
    "cancel",
    "end",
    "exists",
    "find",
    "list_records",
    "secrets_of",
    "start",
    "status",
    "succeed",
    "unfinished",
]

RUNNING = "IN_PROGRESS"

_RUNTIME_PROVIDERS = ("hud", "modal")
_SECRET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LONGEST_SECRET_BYTES = 500 * 1024  # BuildKit's own limit
_ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_LONGEST_ARGUMENT_BYTES = 64 * 1024
_LONGEST_REVISION = 255
_LONGEST_ERROR = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a build ended without a version."""

    status: str
    error_message: str


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A build that is to go on."""

    id: uuid.UUID
    environment_id: uuid.UUID


async def start(backend: Backend, caller: Caller, request: BuildRequest, *, context_digest: str | None) -> BuildStarted:
    """Begin a build; the same id again gives the same reply and begins nothing (PA-07).

    Args:
        context_digest: The context to build, whose blobs are all there; None for the archive that was uploaded for
            this build's id.

    Raises:
        UsageError: A field that cannot be used.
        NotFoundError: No such project or environment.
        Conflict: The context or the upload is not complete (PA-18), or a build of this id was begun with other fields.
    """
    build_id = _build_id(request.build_id)
    config = _checked(request)
    begun = await _begun_before(backend, build_id, request, context_digest)
    if begun is not None:
        return begun
    if context_digest is not None:
        await _check_context(backend, context_digest)
    try:
        async with backend.database.begin() as connection:
            if context_digest is None and not await uploads.completed(connection, build_id):
                raise Conflict(
                    f"no context archive was uploaded for build {build_id}",
                    hint="PUT it to the upload_url of POST /v2/builds/upload-url, then trigger",
                )
            environment = await _environment(connection, request)
            await _keep_defaults(connection, environment, request, config)
            await environments.set_variables(connection, backend.vault, environment.id, request.environment_variables)
            await connection.execute(
                builds.insert().values(
                    id=build_id,
                    environment_id=environment.id,
                    status=RUNNING,
                    queued=True,
                    cancel_requested=False,
                    context_digest=context_digest,
                    no_cache=request.no_cache,
                    build_args=dict(request.build_args),
                    secrets_encrypted=_encrypted(backend, request.build_secrets),
                    source_revision=request.source_revision,
                    key_id=caller.key_id,
                    created_at=now(),
                )
            )
    except IntegrityError:  # the same request came twice at once
        begun = await _begun_before(backend, build_id, request, context_digest)
        if begun is None:
            raise
        return begun
    await backend.builds.launch(Unfinished(id=build_id, environment_id=environment.id))
    return BuildStarted(id=str(build_id), registry_id=str(environment.id))


def _build_id(text: str) -> uuid.UUID:
    try:
        return ids.parse(text, "build")
    except NotFoundError as error:
        raise UsageError(f"build_id is {text[:80]!r}, not a UUID", hint=error.hint) from error


def _checked(request: BuildRequest) -> RuntimeConfig | None:
    """Check what needs no database."""
    if request.runtime_provider not in (None, *_RUNTIME_PROVIDERS):
        raise UsageError(
            f"runtime_provider is {request.runtime_provider!r}", hint=f"one of: {', '.join(_RUNTIME_PROVIDERS)}"
        )
    for name, content in request.build_secrets.items():
        if not _SECRET_ID.fullmatch(name):
            raise UsageError(f"{name[:80]!r} cannot be the id of a build secret", hint="letters, digits, . _ and -")
        if len(content.encode("utf-8", "surrogatepass")) > _LONGEST_SECRET_BYTES:
            raise UsageError(f"the build secret {name!r} is longer than {_LONGEST_SECRET_BYTES} bytes")
    for name, value in request.build_args.items():
        if not _ARGUMENT_NAME.fullmatch(name):
            raise UsageError(f"{name[:80]!r} cannot name a build argument", hint="letters, digits and _")
        if "\0" in value or len(value.encode("utf-8", "surrogatepass")) > _LONGEST_ARGUMENT_BYTES:
            raise UsageError(
                f"the build argument {name!r} is longer than {_LONGEST_ARGUMENT_BYTES} bytes or holds a zero byte"
            )
    if request.source_revision is not None and len(request.source_revision) > _LONGEST_REVISION:
        raise UsageError(f"source_revision is longer than {_LONGEST_REVISION} characters")
    return None if request.runtime_config is None else RuntimeConfig.from_dict(request.runtime_config)


async def _begun_before(
    backend: Backend, build_id: uuid.UUID, request: BuildRequest, context_digest: str | None
) -> BuildStarted | None:
    wanted = (
        select(builds, environment_table.c.name)
        .join(environment_table, environment_table.c.id == builds.c.environment_id)
        .where(builds.c.id == build_id)
    )
    row = await backend.reader.one(wanted)
    if row is None:
        return None
    same = (
        row.context_digest == context_digest
        and row.no_cache == request.no_cache
        and row.build_args == dict(request.build_args)
        and row.source_revision == request.source_revision
        and (
            environments.is_named(row.name, request.name)
            if request.registry_id is None
            else _same_id(request.registry_id, row.environment_id)
        )
    )
    if not same:
        raise Conflict(f"build {build_id} was begun with other fields", hint="take a new build_id")
    return BuildStarted(id=str(build_id), registry_id=str(row.environment_id))


def _same_id(text: str, known: uuid.UUID) -> bool:
    return ids.parse(text, "environment") == known


async def _check_context(backend: Backend, digest: str) -> None:
    missing = await contexts.missing(backend, digest)
    if missing:
        raise Conflict(
            f"the context {digest} lacks {len(missing)} of its blobs",
            hint="send them with POST /v2/blobs, then try again",
        )


async def _environment(connection: AsyncConnection, request: BuildRequest) -> Row[Any]:
    if request.registry_id is not None:
        environment = await environments.find(connection, request.registry_id)
        if request.project_id is not None:
            project = await projects.resolve(connection, request.project_id)
            if project.id != environment.project_id:
                raise Conflict(
                    f"the environment {environment.name!r} belongs to another project than {project.name!r}",
                    hint="leave one of registry_id and project_id out",
                )
        return environment
    project = await projects.resolve(connection, request.project_id)
    return await environments.find_or_create(connection, project, request.name)


async def _keep_defaults(
    connection: AsyncConnection, environment: Row[Any], request: BuildRequest, config: RuntimeConfig | None
) -> None:
    """Keep how the environment is to be run, where the request says so."""
    values: dict[str, Any] = {}
    if request.runtime_provider is not None:
        values["runtime_provider"] = request.runtime_provider
    if config is not None:
        values["runtime_config"] = config.to_dict()
    if values:
        await connection.execute(
            update(environment_table).where(environment_table.c.id == environment.id).values(**values)
        )


def _encrypted(backend: Backend, secrets: Mapping[str, str]) -> bytes | None:
    return backend.vault.encrypt(json.dumps(dict(secrets))) if secrets else None


def secrets_of(backend: Backend, row: Row[Any]) -> dict[str, str]:
    """Give the secrets of a build that has not ended, by id."""
    if row.secrets_encrypted is None:
        return {}
    return msgspec.json.decode(backend.vault.decrypt(row.secrets_encrypted), type=dict[str, str])


# Looking


async def exists(backend: Backend, build_id: str) -> bool:
    """Whether there is a build of this id."""
    try:
        wanted = select(builds.c.id).where(builds.c.id == ids.parse(build_id, "build"))
    except NotFoundError:
        return False
    return await backend.reader.one(wanted) is not None


async def find(backend: Backend, build_id: uuid.UUID) -> Row[Any]:
    """Give the row of a build.

    Raises:
        NotFoundError: There is none of that id.
    """
    row = await backend.reader.one(select(builds).where(builds.c.id == build_id))
    if row is None:
        raise NotFoundError(f"no build has the id {str(build_id)!r}", hint="hud deploy starts one")
    return row


async def status(backend: Backend, build_id: uuid.UUID) -> BuildStatus:
    """Give the state of a build (PA-16).

    Raises:
        NotFoundError: There is none of that id.
    """
    made = (versions.c.environment_id == builds.c.environment_id) & (versions.c.number == builds.c.version)
    wanted = (
        select(
            builds,
            environment_table.c.name.label("environment_name"),
            *(versions.c[name] for name in ("image", "digest", "size_bytes", "manifest")),
        )
        .join(environment_table, environment_table.c.id == builds.c.environment_id)
        .outerjoin(versions, made)
        .where(builds.c.id == build_id)
    )
    row = await backend.reader.one(wanted)
    if row is None:
        raise NotFoundError(f"no build has the id {str(build_id)!r}", hint="hud deploy starts one")
    return BuildStatus(
        status=_shown_status(row),
        version=row.version,
        uri=row.image,
        error_message=row.error_message,
        manifest=None if row.manifest is None else msgspec.convert(row.manifest, Manifest),
        duration_seconds=_duration_s(row),
        registry_id=str(row.environment_id),
        registry_name=row.environment_name,
        digest=row.digest,
        size_bytes=row.size_bytes,
        queued=row.queued,
        context_digest=row.context_digest,
    )


def _shown_status(row: Row[Any]) -> str:
    return "CANCELLING" if row.status == RUNNING and row.cancel_requested else str(row.status)


def _duration_s(row: Row[Any]) -> float | None:
    if row.started_at is None:
        return None
    ended_at = now() if row.ended_at is None else aware(row.ended_at)
    return round((ended_at - aware(row.started_at)).total_seconds(), 3)


async def list_records(
    connection: AsyncConnection, *, registry_id: str | None = None, limit: int | None = None, offset: int = 0
) -> Listing[BuildRecord]:
    """Give a page of the builds, newest first; of one environment when it is named."""
    wanted: Select[Any] = select(builds, environment_table.c.name.label("environment_name")).join(
        environment_table, environment_table.c.id == builds.c.environment_id
    )
    counted = select(func.count()).select_from(builds)
    if registry_id is not None:
        environment = await environments.find(connection, registry_id)
        of_it = builds.c.environment_id == environment.id
        wanted, counted = wanted.where(of_it), counted.where(of_it)
    page = wanted.order_by(builds.c.created_at.desc(), builds.c.id).offset(offset)
    rows = (await connection.execute(page if limit is None else page.limit(limit))).all()
    return Listing(items=[_record(row) for row in rows], total=await connection.scalar(counted) or 0)


def _record(row: Row[Any]) -> BuildRecord:
    return BuildRecord(
        id=str(row.id),
        registry_id=str(row.environment_id),
        registry_name=row.environment_name,
        status=_shown_status(row),
        created_at=stamp(row.created_at),
        queued=row.queued,
        ended_at=None if row.ended_at is None else stamp(row.ended_at),
        version=row.version,
        error_message=row.error_message,
    )


async def unfinished(backend: Backend) -> list[Unfinished]:
    """Give the builds that have not ended, in the order in which they were begun."""
    wanted = select(builds.c.id, builds.c.environment_id).where(builds.c.status.not_in(ENDED_STATUSES))
    rows = await backend.reader.all(wanted.order_by(builds.c.created_at, builds.c.id))
    return [Unfinished(id=row.id, environment_id=row.environment_id) for row in rows]


# Changing


async def cancel(backend: Backend, build_id: uuid.UUID) -> Cancelled:
    """Ask a build to stop; nothing happens when it has ended or there is none (as PA-30 has it for rollouts)."""
    running = builds.c.status.not_in(ENDED_STATUSES)
    async with backend.database.begin() as connection:
        changed = await connection.execute(
            update(builds).where(builds.c.id == build_id, running).values(cancel_requested=True)
        )
    if changed.rowcount == 0:
        return Cancelled(status="noop")
    backend.builds.stop(build_id)
    return Cancelled(status="accepted")


async def begin(backend: Backend, build_id: uuid.UUID) -> Row[Any]:
    """Note that a build's turn has come, and give its row."""
    async with backend.database.begin() as connection:
        first = func.coalesce(builds.c.started_at, now())
        changed = update(builds).where(builds.c.id == build_id).values(queued=False, started_at=first)
        row: Row[Any] = (await connection.execute(changed.returning(builds))).one()
    return row


async def succeed(backend: Backend, build_id: uuid.UUID, new: NewVersion) -> int | None:
    """Register what a build made, as its environment's next and current version, and end it: all at once, and once.

    Gives the version's number, the one of the first time when it is asked again; None when the build was to stop.
    """
    async with backend.database.begin() as connection:
        row = (await connection.execute(select(builds).where(builds.c.id == build_id).with_for_update())).one()
        if row.cancel_requested or row.status in ENDED_STATUSES:
            return None if row.version is None else int(row.version)
        added = await environments.add_version(connection, row.environment_id, new)
        await connection.execute(
            update(builds).where(builds.c.id == build_id).values(**_end_of("SUCCEEDED"), version=added.number)
        )
    return int(added.number)


async def end(backend: Backend, build_id: uuid.UUID, how: Ended) -> None:
    """End a build without a version; one that has ended stays as it is."""
    values = {**_end_of(how.status), "error_message": how.error_message[:_LONGEST_ERROR]}
    still = builds.c.status.not_in(ENDED_STATUSES)
    async with backend.database.begin() as connection:
        await connection.execute(update(builds).where(builds.c.id == build_id, still).values(**values))


def _end_of(status: str) -> dict[str, Any]:
    return {"status": status, "queued": False, "ended_at": now(), "secrets_encrypted": None}
