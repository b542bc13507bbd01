"""The database: SQLite in WAL mode by default, PostgreSQL by its address; one schema, Alembic's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Connection, Executable, Row, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from hud.errors import HudError, UnreachableError, UsageError
from hud_platform.web.refusals import Busy

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["Database", "Reader", "address", "insert_into", "open_database", "upgrade"]

T = TypeVar("T")

_BUSY_MS = 10_000  # how long a writer waits for another process's
_TURN_S = 30.0  # and for those of this one, which may bring 100,000 rows
_MOST_REMEMBERED = 10_000
_MIGRATIONS = Path(__file__).with_name("migrations")


class Database(AsyncEngine):
    """An engine whose `begin()` is one writing transaction; `connect()` is for reading.

    SQLite has one writer at a time. `begin()` takes that place at once, because a transaction that reads first and
    writes then would find that somebody else wrote in between (SQLITE_BUSY_SNAPSHOT, which no waiting mends); and
    writers of this process wait in a queue here, in order, without holding a connection.
    """

    __slots__ = ("_turn",)

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine.sync_engine)
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a writing transaction: committed at the end, rolled back by an error.

        Raises:
            Busy: another writer did not end within half a minute.
        """
        turn = _held(self._turn) if self._turn is not None else nullcontext()
        async with turn, self.connect() as connection:
            await connection.execution_options(writes=True)
            async with connection.begin():
                yield connection


class Reader:
    """Single rows, read with the least that a read can cost.

    An asyncio driver for SQLite passes each step of a statement to a thread and back, which costs ten times what a
    read of some rows by an index does. Such reads happen here, at once, and are remembered until anybody, in this
    process or another, changes the database: SQLite tells that in some microseconds. What reads many rows belongs on
    `Database.connect()`.
    """

    def __init__(self, database: Database, folder: DataFolder, *, is_sqlite: bool) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._cursor: Any = None
        self._remembered: dict[tuple[object, ...], Any] = {}
        self._version = 0
        if is_sqlite:
            engine = create_engine(URL.create("sqlite", database=str(folder.database)), poolclass=StaticPool)
            event.listen(engine, "connect", _prepare_reader)
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._cursor = self._connection.connection.cursor()

    async def all(self, statement: Executable, parameters: Mapping[str, object] | None = None) -> Sequence[Row[Any]]:
        """Give the rows of a statement that gives few; keep the statement in a constant and bind what changes."""
        if self._connection is None:
            async with self._database.connect() as connection:
                return (await connection.execute(statement, parameters)).all()
        self._forget_what_changed()
        key = (statement, *(parameters or {}).values())
        rows: Sequence[Row[Any]] | None = self._remembered.get(key)
        if rows is None:
            rows = self._remembered[key] = self._connection.execute(statement, parameters).all()
        return rows

    async def one(self, statement: Executable, parameters: Mapping[str, object] | None = None) -> Row[Any] | None:
        """Give the one row of a statement, or None."""
        rows = await self.all(statement, parameters)
        return rows[0] if rows else None

    async def made(
        self, statement: Executable, parameters: Mapping[str, object], make: Callable[[Row[Any] | None], T]
    ) -> T:
        """Give what `make` makes of the one row of a statement, or of None; that is remembered as rows are.

        Args:
            make: A function of the row alone, kept in a constant too; what it raises is not remembered.
        """
        if self._connection is None:
            return make(await self.one(statement, parameters))
        self._forget_what_changed()
        key = (make, *parameters.values())
        known: T | None = self._remembered.get(key)
        if known is None:
            known = self._remembered[key] = make(await self.one(statement, parameters))
        return known

    def _forget_what_changed(self) -> None:
        version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version or len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
            self._version = version

    def close(self) -> None:
        """Close what it reads with."""
        if self._connection is not None:
            self._connection.close()
            self._connection.engine.dispose()


def address(config: PlatformConfig, folder: DataFolder) -> URL:
    """Give the database's SQLAlchemy address, with an asyncio driver.

    Raises:
        UsageError: what is configured is no address.
    """
    if config.database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(folder.database))
    try:
        url = make_url(config.database_url)
    except ArgumentError:
        raise UsageError("the database's address is none", hint="--database postgresql://user@host/name") from None
    if url.get_backend_name() != "postgresql":
        raise UsageError(f"{url.get_backend_name()!r} is no database for a platform", hint="SQLite or postgresql://…")
    return url.set(drivername="postgresql+psycopg")


def open_database(config: PlatformConfig, folder: DataFolder) -> Database:
    """Open the database; nothing is connected until first use.

    Raises:
        UsageError: what is configured is no address.
        HudError: its driver is not installed.
    """
    try:
        engine = create_async_engine(address(config, folder))
    except ModuleNotFoundError as error:
        raise HudError(
            f"the database needs a package that is not installed here: {error.name}", hint="pip install psycopg[binary]"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return Database(engine)


async def upgrade(database: Database) -> None:
    """Bring the database's tables to what this version needs: all of it, or nothing.

    Raises:
        UnreachableError: it does not answer.
        HudError: a newer version of the platform made it, or it is no database.
    """
    try:
        async with database.begin() as connection:
            await connection.run_sync(_upgrade)
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]
        if database.dialect.name == "sqlite":
            raise HudError(
                f"{database.url.database} cannot be opened: {reason}", hint="hud platform restore FILE --force"
            ) from error
        raise UnreachableError(f"the database does not answer: {reason}", hint="is it up, and --database right?") from (
            error
        )


def insert_into(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Give an insert that may say what becomes of a row that is there: each database has one of its own for that."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    for revision in MigrationContext.configure(connection).get_current_heads():
        if revision not in known:
            raise HudError(
                f"the database is at revision {revision!r}, which this version does not know",
                hint="pip install --upgrade 'hud-cli[platform]'",
            )
    command.upgrade(config, "head")


@asynccontextmanager
async def _held(turn: asyncio.Lock) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_TURN_S):
            await turn.acquire()
    except TimeoutError:
        raise Busy("the database is busy: another change has not ended", hint="try again in a moment") from None
    try:
        yield
    finally:
        turn.release()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own habit of beginning transactions leaves out statements that change tables, so that a server
    # killed in a migration would find half of it; SQLAlchemy's events begin them instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")  # safe in WAL mode against a killed process
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_reader(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA busy_timeout = 1000")  # readers wait for nobody in WAL mode, but for a recovery
