"""What a running platform stands on, opened once and given to every handler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from hud_platform import database
from hud_platform.config import PlatformConfig
from hud_platform.keys import Keyring

__all__ = ["Backend", "open_backend"]


class Backend:
    """The parts of a running platform.

    Attributes:
        database: Where all records are; `async with backend.database.begin() as connection` is one transaction.
        keys: The API keys, with what was looked up lately.
    """

    def __init__(self, *, config: PlatformConfig, database: AsyncEngine, keys: Keyring) -> None:
        self.config = config
        self.database = database
        self.keys = keys


@asynccontextmanager
async def open_backend(config: PlatformConfig) -> AsyncIterator[Backend]:
    """Open every part, and close them in reverse."""
    engine = database.open_engine(config)
    try:
        yield Backend(config=config, database=engine, keys=Keyring(engine))
    finally:
        await engine.dispose()
