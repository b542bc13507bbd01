"""Environments, found by their normalised names: their variables, their versions, and which of those is current."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select, update

from hud.errors import NotFoundError, UsageError
from hud.names import normalise
from hud.platform.records import EnvironmentRecord, LatestBuild, Manifest, VersionRecord
from hud_platform.storage.database import insert_into
from hud_platform.storage.tables import environment_variables, environments, versions
from hud_platform.web import ids
from hud_platform.web.compact import compact
from hud_platform.web.pages import Listing
from hud_platform.web.times import now, stamp

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.storage.database import Reader
    from hud_platform.storage.vault import Vault

__all__ = [
    "NewVersion",
    "add_version",
    "find",
    "find_or_create",
    "list_records",
    "list_versions",
    "read_record",
    "rollback_source",
    "set_variables",
    "variables",
    "version_record",
    "version_row",
]

_LONGEST_NAME = 128  # what an image's repository may hold, beside a registry and a prefix
_LONGEST_DECLARED = 255
_LONGEST_VARIABLE_NAME = 255
_LONGEST_VARIABLE_BYTES = 128 * 1024  # what Linux takes as one argument or variable of a process
_VARIABLE_NAME = re.compile(r"[^=\0\s]+")


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What a build made.

    Attributes:
        image: A reference that the engine or a registry resolves.
        digest: Of the image's manifest when it was pushed, else the engine's id of it.
        rolled_back_to: The earlier version whose image this one runs again.
    """

    image: str
    digest: str
    size_bytes: int
    manifest: Manifest
    build_id: uuid.UUID | None = None
    context_digest: str | None = None
    source_revision: str | None = None
    rolled_back_to: int | None = None


async def find_or_create(connection: AsyncConnection, project: Row[Any], declared_name: str) -> Row[Any]:
    """Give the row of a project's environment of this name, made when there is none (PA-10).

    Raises:
        UsageError: Nothing of the name is left when it is normalised, or it is too long.
    """
    name = normalise(declared_name)
    if not name or len(name) > _LONGEST_NAME or len(declared_name) > _LONGEST_DECLARED:
        raise UsageError(
            f"{declared_name[:80]!r} cannot name an environment",
            hint=f"a name holds 1 to {_LONGEST_NAME} letters, digits and hyphens",
        )
    values = {"id": uuid.uuid4(), "project_id": project.id, "name": name, "declared_name": declared_name}
    statement = insert_into(connection, environments).values(**values, created_at=now())
    # With an update, so that the row is given whether it was there or not.
    statement = statement.on_conflict_do_update(
        index_elements=["project_id", "name"], set_={"declared_name": declared_name}
    )
    row: Row[Any] = (await connection.execute(statement.returning(environments))).one()
    return row


async def find(connection: AsyncConnection, environment_id: str) -> Row[Any]:
    """Give the row of an environment.

    Raises:
        NotFoundError: There is none of that id.
    """
    wanted = select(environments).where(environments.c.id == ids.parse(environment_id, "environment"))
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        raise _unknown(environment_id)
    return row


def _unknown(environment_id: str) -> NotFoundError:
    return NotFoundError(f"no environment has the id {environment_id!r}", hint="hud env list")


# Variables


async def set_variables(
    connection: AsyncConnection, vault: Vault, environment_id: uuid.UUID, values: Mapping[str, str]
) -> None:
    """Lay variables over an environment's; names that are left out keep their values (PA-11).

    Raises:
        UsageError: A name or a value that no process could be given.
    """
    for name, value in values.items():
        if not _VARIABLE_NAME.fullmatch(name) or len(name) > _LONGEST_VARIABLE_NAME:
            raise UsageError(f"{name[:80]!r} cannot name an environment variable", hint="NAME=value, without blanks")
        if "\0" in value or len(value.encode("utf-8", "surrogatepass")) > _LONGEST_VARIABLE_BYTES:
            raise UsageError(
                f"the value of the environment variable {name!r} is longer than {_LONGEST_VARIABLE_BYTES} bytes"
                " or holds a zero byte",
                hint="put large values into a file of the image, or a build secret",
            )
        row = {"environment_id": environment_id, "name": name, "value_encrypted": vault.encrypt(value)}
        statement = insert_into(connection, environment_variables).values(**row, updated_at=now())
        changed = {"value_encrypted": statement.excluded.value_encrypted, "updated_at": statement.excluded.updated_at}
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["environment_id", "name"], set_=changed)
        )


async def variables(connection: AsyncConnection, vault: Vault, environment_id: uuid.UUID) -> dict[str, str]:
    """Give an environment's variables in clear: for its containers, and for nothing that leaves the platform."""
    columns = environment_variables.c
    wanted = select(columns.name, columns.value_encrypted).where(columns.environment_id == environment_id)
    return {row.name: vault.decrypt(row.value_encrypted) for row in await connection.execute(wanted)}


# Versions


async def add_version(connection: AsyncConnection, environment_id: uuid.UUID, new: NewVersion) -> Row[Any]:
    """Add a version, numbered after the last, make it the current one, and give its row.

    The transaction has to be a writing one, so that nobody else takes the number.
    """
    await connection.execute(
        select(environments.c.id).where(environments.c.id == environment_id).with_for_update()
    )  # of PostgreSQL; SQLite has one writer anyway
    last = await connection.scalar(
        select(func.max(versions.c.number)).where(versions.c.environment_id == environment_id)
    )
    number = (last or 0) + 1
    values = {
        "environment_id": environment_id,
        "number": number,
        "build_id": new.build_id,
        "image": new.image,
        "digest": new.digest,
        "size_bytes": new.size_bytes,
        "manifest": asdict(new.manifest),
        "context_digest": new.context_digest,
        "source_revision": new.source_revision,
        "rolled_back_to": new.rolled_back_to,
        "created_at": now(),
    }
    row: Row[Any] = (await connection.execute(versions.insert().values(values).returning(versions))).one()
    await connection.execute(
        update(environments).where(environments.c.id == environment_id).values(current_version=number)
    )
    return row


async def version_row(connection: AsyncConnection, environment: Row[Any], number: int) -> Row[Any]:
    """Give the row of a version.

    Raises:
        NotFoundError: The environment has none of that number.
    """
    wanted = select(versions).where(versions.c.environment_id == environment.id, versions.c.number == number)
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        raise NotFoundError(
            f"the environment {environment.name!r} has no version {number}", hint=f"hud env show {environment.name}"
        )
    return row


def rollback_source(row: Row[Any]) -> NewVersion:
    """Give a version that runs the image of an earlier one."""
    return NewVersion(
        image=row.image,
        digest=row.digest,
        size_bytes=row.size_bytes,
        manifest=msgspec.convert(row.manifest, Manifest),
        build_id=row.build_id,
        context_digest=row.context_digest,
        source_revision=row.source_revision,
        rolled_back_to=row.number if row.rolled_back_to is None else row.rolled_back_to,
    )


def _is_current() -> ColumnElement[bool]:
    return (versions.c.environment_id == environments.c.id) & (versions.c.number == environments.c.current_version)


# Records


def _records() -> Select[Any]:
    current = [column.label(f"version_{column.name}") for column in versions.c if column.name != "manifest"]
    return select(environments, *current).outerjoin(versions, _is_current())


async def list_records(
    connection: AsyncConnection,
    *,
    search: str | None = None,
    newest_first: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> Listing[EnvironmentRecord]:
    """Give a page of the environments whose name holds `search`, by name or by their latest change."""
    wanted = _records()
    counted = select(func.count()).select_from(environments)
    if search:
        holds = environments.c.name.contains(search.strip().lower(), autoescape=True)
        wanted, counted = wanted.where(holds), counted.where(holds)
    changed = func.coalesce(versions.c.created_at, environments.c.created_at)
    order = (changed.desc(), environments.c.id) if newest_first else (environments.c.name, environments.c.id)
    page = wanted.order_by(*order).offset(offset)
    rows = (await connection.execute(page if limit is None else page.limit(limit))).all()
    return Listing(items=[_record(row) for row in rows], total=await connection.scalar(counted) or 0)


_RECORD_BY_ID = _records().where(environments.c.id == bindparam("environment_id"))


async def read_record(reader: Reader, environment_id: str) -> dict[str, Any]:
    """Give one environment's record as it travels.

    Raises:
        NotFoundError: There is none of that id.
    """
    wanted = {"environment_id": ids.parse(environment_id, "environment")}
    record = await reader.made(_RECORD_BY_ID, wanted, _travelling)
    if record is None:
        raise _unknown(environment_id)
    return record


def _travelling(row: Row[Any] | None) -> dict[str, Any] | None:
    return None if row is None else compact(_record(row))


def _record(row: Row[Any]) -> EnvironmentRecord:
    latest = None
    if row.version_number is not None:
        latest = LatestBuild(
            version=row.version_number,
            digest=row.version_digest,
            uri=row.version_image,
            created_at=stamp(row.version_created_at),
        )
    return EnvironmentRecord(
        id=str(row.id),
        name=row.name,
        latest_build=latest,
        project_id=str(row.project_id),
        created_at=stamp(row.created_at),
    )


async def list_versions(
    connection: AsyncConnection, environment: Row[Any], *, limit: int | None = None, offset: int = 0
) -> Listing[VersionRecord]:
    """Give a page of an environment's versions, newest first."""
    of_it = versions.c.environment_id == environment.id
    page = select(versions).where(of_it).order_by(versions.c.number.desc()).offset(offset)
    rows = (await connection.execute(page if limit is None else page.limit(limit))).all()
    total = await connection.scalar(select(func.count()).select_from(versions).where(of_it))
    return Listing(items=[version_record(row, environment.current_version) for row in rows], total=total or 0)


def version_record(row: Row[Any], current_version: int | None) -> VersionRecord:
    """Give a version as it travels."""
    return VersionRecord(
        version=row.number,
        digest=row.digest,
        uri=row.image,
        size_bytes=row.size_bytes,
        created_at=stamp(row.created_at),
        current=row.number == current_version,
        build_id=None if row.build_id is None else str(row.build_id),
        context_digest=row.context_digest,
        source_revision=row.source_revision,
        rolled_back_to=row.rolled_back_to,
        tasks=[task["id"] for task in row.manifest.get("tasks", [])],
    )


def is_named(name: str, declared_name: str) -> bool:
    """Whether a declared name is an environment's."""
    return normalise(declared_name) == name
