"""What a running platform stands on, opened once and given to every handler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hud_platform import projects
from hud_platform.access import facts
from hud_platform.access.facts import Facts
from hud_platform.access.keys import Keyring
from hud_platform.builds.build_log import Logs
from hud_platform.config import PlatformConfig
from hud_platform.contexts.blobs import BlobStore, open_blobs
from hud_platform.storage import database as databases
from hud_platform.storage.data_folder import DataFolder, open_folder
from hud_platform.storage.database import Database, Reader
from hud_platform.storage.vault import Vault, open_vault
from hud_platform.web.metrics import Metrics

if TYPE_CHECKING:
    from hud_platform.builds.build_workflow import Builds

__all__ = ["Backend", "open_backend"]


class Backend:
    """The parts of a running platform.

    Attributes:
        config: What it was told from outside.
        data: The places in its data folder.
        database: Where all records are: `async with backend.database.begin() as connection` is one writing
            transaction, `backend.database.connect()` is for reading.
        reader: Reads of a row or a few, which cost a tenth of those.
        keys: The API keys, with what was looked up lately.
        vault: Encrypts what is secret at rest.
        facts: Its own identity.
        metrics: What it counts.
        blobs: Chunks and manifests of contexts, by their digests.
        logs: The logs of builds.
        builds: The builds under way; there once `build_workflow.running_builds` runs them.
    """

    builds: Builds

    def __init__(
        self,
        *,
        config: PlatformConfig,
        data: DataFolder,
        database: Database,
        reader: Reader,
        blobs: BlobStore,
        vault: Vault,
        facts: Facts,
    ) -> None:
        self.config = config
        self.data = data
        self.database = database
        self.reader = reader
        self.keys = Keyring(database, reader)
        self.blobs = blobs
        self.vault = vault
        self.facts = facts
        self.metrics = Metrics()
        self.logs = Logs(data.builds)

    @property
    def url(self) -> str:
        """The address that clients are given, without a trailing slash."""
        return self.config.public_url


@asynccontextmanager
async def open_backend(config: PlatformConfig) -> AsyncIterator[Backend]:
    """Open every part, the database brought up to date, and close them in reverse.

    Raises:
        HudError: the data folder, its keys or the database cannot be used.
    """
    data = open_folder(config.data)
    vault = open_vault(data)
    blobs = open_blobs(config, data)
    database = databases.open_database(config, data)
    try:
        await databases.upgrade(database)
        async with database.begin() as connection:
            known = await facts.find_or_make(connection)
            await projects.find_or_make_default(connection)
        reader = Reader(database, data, is_sqlite=database.dialect.name == "sqlite")
        try:
            yield Backend(
                config=config, data=data, database=database, reader=reader, blobs=blobs, vault=vault, facts=known
            )
        finally:
            reader.close()
    finally:
        await database.dispose()
