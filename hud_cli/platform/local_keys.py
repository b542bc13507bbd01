"""The keys of this machine's platform: through its server where one runs, else in its database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from hud.errors import NotAuthorisedError
from hud_cli.platform.local import existing_folder, local_config, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hud.platform.client import Platform
    from hud.platform.records import KeyRecord, MintedKey, Scope
    from hud_platform.backend import Backend
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["create", "records", "revoke"]

T = TypeVar("T")


def create(data: str, *, name: str, scope: Scope) -> MintedKey:
    """Make a key.

    Raises:
        UsageError: the name cannot be one, or there is no such scope.
    """
    from hud.platform.records import MintedKey
    from hud_platform.access import keys

    keys.check(name, scope)

    async def in_database(backend: Backend) -> MintedKey:
        async with backend.database.begin() as connection:
            return await keys.mint(connection, name=name, scope=scope)

    body = {"name": name, "scope": scope}
    return _either(data, lambda server: server.call("POST", "/keys", into=MintedKey, body=body), in_database)


def records(data: str) -> list[KeyRecord]:
    """Give all keys, newest first."""
    import msgspec

    from hud.platform.records import KeyRecord, Page
    from hud_platform.access import keys

    async def in_database(backend: Backend) -> list[KeyRecord]:
        async with backend.database.connect() as connection:
            items, _ = await keys.listed(connection, limit=None, offset=0)
        return items

    def through_server(server: Platform) -> list[KeyRecord]:
        return msgspec.convert(server.call("GET", "/keys", into=Page).items, list[KeyRecord])

    return _either(data, through_server, in_database)


def revoke(data: str, reference: str) -> KeyRecord:
    """Revoke a key by its id, name or prefix, at once.

    Raises:
        NotFoundError: no live key is named so.
        UsageError: several are.
    """
    from hud.platform.records import KeyRecord

    def through_server(server: Platform) -> KeyRecord:
        return server.call("POST", f"/keys/{quote(reference, safe='')}/revoke", into=KeyRecord, idempotent=True)

    return _either(data, through_server, lambda backend: backend.keys.revoke(reference))


def _either(data: str, through_server: Callable[[Platform], T], in_database: Callable[[Backend], Awaitable[T]]) -> T:
    """Do it through the server with the key in the data folder, or in the database.

    Who can read the folder may do everything: a key that was revoked does not lock its owner out.
    """
    folder = existing_folder(data)
    with _server(folder) as server:
        if server is not None:
            try:
                return through_server(server)
            except NotAuthorisedError:
                pass
    return asyncio.run(_with_backend(folder, in_database))


@contextmanager
def _server(folder: DataFolder) -> Iterator[Platform | None]:
    from hud.platform.client import Platform
    from hud.settings import Settings
    from hud_platform.access.first_start import stored_admin_key

    info, key = running(folder), stored_admin_key(folder)
    if info is None or not info.url or key is None:
        yield None
        return
    with Platform(Settings(api_key=key, api_url=info.url)) as server:
        yield server


async def _with_backend(folder: DataFolder, work: Callable[[Backend], Awaitable[T]]) -> T:
    from hud_platform.backend import open_backend

    async with open_backend(local_config(folder)) as backend:
        return await work(backend)
