"""The database: SQLite in WAL mode by default, PostgreSQL by its address; one schema, Alembic's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from typing import Any

    from hud_platform.config import PlatformConfig

__all__ = ["address", "open_engine"]

_BUSY_MS = 30_000  # a writer waits its turn this long; another process may be backing the file up


def address(config: PlatformConfig) -> str:
    """Give the database's SQLAlchemy address, with an asyncio driver."""
    if config.database_url is None:
        return f"sqlite+aiosqlite:///{config.data.absolute() / 'platform.sqlite'}"
    return config.database_url.replace("postgresql://", "postgresql+psycopg://", 1)


def open_engine(config: PlatformConfig) -> AsyncEngine:
    """Open the database; nothing is connected until first use."""
    engine = create_async_engine(address(config))
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")  # safe in WAL mode against a killed process
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    cursor.close()
