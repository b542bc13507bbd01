"""Migrations make exactly the tables that the code knows, all or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from hud.errors import HudError
from hud_platform.config import PlatformConfig
from hud_platform.data_folder import DataFolder, open_folder
from hud_platform.database import Database, open_database, upgrade
from hud_platform.tables import metadata


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return open_folder(tmp_path / "data")


def opened(folder: DataFolder) -> Database:
    return open_database(PlatformConfig(data=folder.root), folder)


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def test_the_migrations_make_the_tables_of_the_code(folder: DataFolder) -> None:
    database = opened(folder)
    await upgrade(database)
    async with database.connect() as connection:
        found = await connection.run_sync(differences)
    await database.dispose()

    assert found == []


async def test_the_indexes_of_live_rows_are_partial(folder: DataFolder) -> None:
    """Autogenerate does not compare the condition of an index."""
    database = opened(folder)
    await upgrade(database)
    async with database.connect() as connection:
        rows = await connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
        made = {row.name: row.sql for row in rows}
    await database.dispose()

    assert made["uq_tasks_live"].endswith("WHERE removed_in IS NULL")
    assert made["ix_tasks_past"].endswith("WHERE removed_in IS NOT NULL")


async def test_upgrading_again_changes_nothing(folder: DataFolder) -> None:
    database = opened(folder)
    await upgrade(database)
    await upgrade(database)
    async with database.connect() as connection:
        revisions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
    await database.dispose()

    assert len(revisions) == 1


async def test_a_database_of_a_newer_version_is_left_alone(folder: DataFolder) -> None:
    database = opened(folder)
    await upgrade(database)
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(HudError, match="revision '9999', which this version does not know") as refused:
        await upgrade(database)
    await database.dispose()

    assert refused.value.hint == "pip install --upgrade 'hud-cli[platform]'"


async def test_a_migration_that_is_cut_off_leaves_nothing(folder: DataFolder) -> None:
    database = opened(folder)
    with pytest.raises(ZeroDivisionError):
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE half (id INTEGER)"))
            raise ZeroDivisionError
    async with database.connect() as connection:
        tables = (await connection.execute(text("SELECT name FROM sqlite_master"))).scalars().all()
    await database.dispose()

    assert tables == []


async def test_transactions_that_read_first_do_not_lose_to_each_other(folder: DataFolder) -> None:
    """Deferred transactions would end here in SQLITE_BUSY_SNAPSHOT or in a lost update."""
    database = opened(folder)
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE counters (value INTEGER)"))
        await connection.execute(text("INSERT INTO counters VALUES (0)"))

    async def add() -> None:
        async with database.begin() as connection:
            value = (await connection.execute(text("SELECT value FROM counters"))).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(text("UPDATE counters SET value = :value"), {"value": value + 1})

    await asyncio.gather(*(add() for _ in range(50)))
    async with database.connect() as connection:
        value = (await connection.execute(text("SELECT value FROM counters"))).scalar_one()
    await database.dispose()

    assert value == 50
