"""Migrations make exactly the tables that the code knows, all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from hud.errors import HudError
from hud_platform.config import PlatformConfig
from hud_platform.storage.data_folder import open_folder
from hud_platform.storage.database import Database, open_database, upgrade
from hud_platform.storage.tables import metadata
from tests import bench

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRESQL, marks=pytest.mark.slow)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    url = bench.require_postgres() if request.param == POSTGRESQL else None
    folder = open_folder(tmp_path / "data")
    opened = open_database(PlatformConfig(data=folder.root, database_url=url), folder)
    yield opened
    await opened.dispose()


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    await upgrade(database)
    async with database.connect() as connection:
        found = await connection.run_sync(differences)

    assert found == []


async def test_the_indexes_of_live_rows_are_partial(database: Database) -> None:
    """Autogenerate does not compare the condition of an index."""
    await upgrade(database)
    listed = {
        SQLITE: "SELECT name, sql FROM sqlite_master WHERE type = 'index'",
        POSTGRESQL: "SELECT indexname AS name, indexdef AS sql FROM pg_indexes",
    }
    async with database.connect() as connection:
        rows = await connection.execute(text(listed[database.dialect.name]))
        made = {row.name: (row.sql or "").replace("(", "").replace(")", "") for row in rows}

    assert made["uq_tasks_live"].endswith("WHERE removed_in IS NULL")
    assert made["ix_tasks_past"].endswith("WHERE removed_in IS NOT NULL")


async def test_upgrading_again_changes_nothing(database: Database) -> None:
    await upgrade(database)
    await upgrade(database)
    async with database.connect() as connection:
        revisions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()

    assert len(revisions) == 1


async def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    await upgrade(database)
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(HudError, match="revision '9999', which this version does not know") as refused:
        await upgrade(database)

    assert refused.value.hint == "pip install --upgrade 'hud-cli[platform]'"


async def test_a_migration_that_is_cut_off_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE half (id INTEGER)"))
            raise ZeroDivisionError
    async with database.connect() as connection:
        tables = await connection.run_sync(lambda open_connection: inspect(open_connection).get_table_names())

    assert tables == []


async def test_transactions_that_read_first_do_not_lose_to_each_other(database: Database) -> None:
    """Deferred transactions would end here in SQLITE_BUSY_SNAPSHOT or in a lost update; PostgreSQL has row locks."""
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE counters (value INTEGER)"))
        await connection.execute(text("INSERT INTO counters VALUES (0)"))

    async def add() -> None:
        async with database.begin() as connection:
            locked = " FOR UPDATE" if database.dialect.name == POSTGRESQL else ""
            value = (await connection.execute(text(f"SELECT value FROM counters{locked}"))).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(text("UPDATE counters SET value = :value"), {"value": value + 1})

    await asyncio.gather(*(add() for _ in range(50)))
    async with database.connect() as connection:
        value = (await connection.execute(text("SELECT value FROM counters"))).scalar_one()

    assert value == 50
