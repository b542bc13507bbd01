"""API keys: list, make, revoke. All of it needs the scope `admin`."""

from __future__ import annotations

from typing import Any

from litestar import delete, get, post
from msgspec import Struct

from hud.platform.records import KeyRecord, MintedKey, Scope
from hud_platform.access import keys
from hud_platform.backend import Backend
from hud_platform.web.pages import Limit, Listing, Offset

__all__ = ["routes"]


class NewKey(Struct, kw_only=True):
    """What a key is made from."""

    name: str
    scope: Scope = "write"


@get("/v2/keys", opt={"scope": "admin"})
async def list_keys(
    backend: Backend,
    limit: Limit = None,
    offset: Offset = 0,
) -> Listing[KeyRecord]:
    """A page of the keys, revoked ones too, newest first; never a key itself."""
    await backend.keys.write_uses()
    async with backend.database.connect() as connection:
        items, total = await keys.listed(connection, limit=limit, offset=offset)
    return Listing(items=items, total=total)


@post("/v2/keys", opt={"scope": "admin"})
async def create_key(backend: Backend, data: NewKey) -> MintedKey:
    """Make a key, which only this reply tells."""
    async with backend.database.begin() as connection:
        return await keys.mint(connection, name=data.name, scope=data.scope)


@post("/v2/keys/{reference:str}/revoke", opt={"scope": "admin"}, status_code=200)
async def revoke_key_and_tell(backend: Backend, reference: str) -> KeyRecord:
    """Revoke a key as `DELETE` does, and say which it was."""
    return await backend.keys.revoke(reference)


@delete("/v2/keys/{reference:str}", opt={"scope": "admin"})
async def revoke_key(backend: Backend, reference: str) -> None:
    """Revoke a key, by its id, name or prefix; it is refused from now on."""
    await backend.keys.revoke(reference)


routes: list[Any] = [list_keys, create_key, revoke_key, revoke_key_and_tell]
