"""API keys: random, stored as a hash, scoped, revocable."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from sqlalchemy import select

from hud.errors import UsageError
from hud.platform.records import Scope
from hud_platform.tables import api_keys

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["Caller", "Keyring", "mint"]

_PREFIX_LENGTH = 12


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes a request: the key it carries."""

    key_id: uuid.UUID
    name: str
    scope: Scope

    def may(self, scope: Scope) -> bool:
        """Whether the key's scope includes this one."""
        order = get_args(Scope)
        return order.index(self.scope) >= order.index(scope)


class Keyring:
    """The keys of a platform; one that was accepted is remembered until it is revoked."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        self._known: dict[bytes, Caller] = {}

    async def caller(self, key: str) -> Caller | None:
        """Give whose key this is, or None when it is unknown or revoked."""
        digest = _hash(key)
        if (known := self._known.get(digest)) is not None:
            return known
        wanted = select(api_keys).where(api_keys.c.hash == digest, api_keys.c.revoked_at.is_(None))
        async with self._database.connect() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            return None
        self._known[digest] = caller = Caller(key_id=row.id, name=row.name, scope=row.scope)
        return caller


async def mint(connection: AsyncConnection, *, name: str, scope: Scope) -> str:
    """Make a key and give it; nothing can give it again.

    Raises:
        UsageError: no such scope.
    """
    if scope not in get_args(Scope):
        raise UsageError(f"{scope!r} is no scope", hint=f"one of: {', '.join(get_args(Scope))}")
    key = f"hud_{secrets.token_urlsafe(32)}"
    row = {"id": uuid.uuid4(), "name": name, "prefix": key[:_PREFIX_LENGTH], "hash": _hash(key), "scope": scope}
    await connection.execute(api_keys.insert().values(**row, created_at=datetime.now(UTC)))
    return key


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
