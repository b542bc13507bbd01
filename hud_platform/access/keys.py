"""API keys: random, stored as a hash, scoped, revocable."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import Row, bindparam, func, select

from hud.errors import NotFoundError, UsageError
from hud.platform.records import KeyRecord, MintedKey, Scope
from hud_platform.storage.tables import api_keys
from hud_platform.web import ids
from hud_platform.web.times import stamp

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.storage.database import Database, Reader

__all__ = ["Caller", "Keyring", "check", "is_scope", "listed", "mint", "record", "revoke"]

_PREFIX_LENGTH = 12
_LONGEST_NAME = 255
_LONGEST_KEY = 256
# How long an accepted key is believed without asking: what another process revokes is refused after this time.
_BELIEVED_S = 1.0
_MOST_REMEMBERED = 10_000

_RANKS = {scope: rank for rank, scope in enumerate(get_args(Scope))}

_BY_HASH = select(api_keys.c.id, api_keys.c.name, api_keys.c.scope).where(
    api_keys.c.hash == bindparam("hash"), api_keys.c.revoked_at.is_(None)
)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes a request: the key it carries."""

    key_id: uuid.UUID
    name: str
    scope: Scope

    def may(self, scope: Scope) -> bool:
        """Whether the key's scope includes this one."""
        return _RANKS[self.scope] >= _RANKS[scope]


class Keyring:
    """The keys of a running platform; one that was accepted is believed for a second, or until it is revoked here."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._used: dict[uuid.UUID, datetime] = {}

    async def caller(self, key: str) -> Caller | None:
        """Give whose key this is, or None when it is unknown or revoked."""
        if not key or len(key) > _LONGEST_KEY:
            return None
        now, digest = time.monotonic(), _hash(key)
        known = self._known.get(digest)
        if known is not None and known[1] > now:
            return known[0]
        row = await self._reader.one(_BY_HASH, {"hash": digest})
        if row is None:
            self._known.pop(digest, None)
            return None
        caller = Caller(key_id=row.id, name=row.name, scope=row.scope)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[digest] = (caller, now + _BELIEVED_S)
        self._used[caller.key_id] = datetime.now(UTC)
        return caller

    async def revoke(self, reference: str) -> KeyRecord:
        """Revoke a key, by its id, name or prefix; from now on it is refused.

        Raises:
            NotFoundError: no live key is named so.
            UsageError: several are.
        """
        async with self._database.begin() as connection:
            revoked = await revoke(connection, reference)
        self._known.clear()
        return revoked

    async def write_uses(self) -> None:
        """Write down when keys were last used."""
        used, self._used = self._used, {}
        if not used:
            return
        rows = [{"used_id": key_id, "used_at": at} for key_id, at in used.items()]
        statement = (
            api_keys.update().where(api_keys.c.id == bindparam("used_id")).values(last_used_at=bindparam("used_at"))
        )
        async with self._database.begin() as connection:
            await connection.execute(statement, rows)


async def mint(connection: AsyncConnection, *, name: str, scope: Scope) -> MintedKey:
    """Make a key and give it; nothing can give it again.

    Raises:
        UsageError: no such scope, or a name that is empty or too long.
    """
    check(name, scope)
    key = f"hud_{secrets.token_urlsafe(32)}"
    values = {"name": name, "prefix": key[:_PREFIX_LENGTH], "hash": _hash(key), "scope": scope}
    added = api_keys.insert().values(id=uuid.uuid4(), created_at=datetime.now(UTC), **values).returning(api_keys)
    return MintedKey(key=key, record=record((await connection.execute(added)).one()))


async def revoke(connection: AsyncConnection, reference: str) -> KeyRecord:
    """Mark one live key as revoked, by its id, name or prefix (at least four characters after `hud_`).

    Raises:
        NotFoundError: no live key is named so.
        UsageError: several are.
    """
    live = (await connection.execute(select(api_keys).where(api_keys.c.revoked_at.is_(None)))).all()
    found = [row for row in live if _is_meant(row, reference)]
    if not found:
        raise NotFoundError(f"no live key is named {reference[:80]!r}", hint="hud platform key list")
    if len(found) > 1:
        hint = " or ".join(f"hud platform key revoke {row.id}" for row in found[:3])
        raise UsageError(f"{len(found)} keys are named {reference[:80]!r}", hint=hint)
    changed = (
        api_keys.update().where(api_keys.c.id == found[0].id).values(revoked_at=datetime.now(UTC)).returning(api_keys)
    )
    return record((await connection.execute(changed)).one())


async def listed(connection: AsyncConnection, *, limit: int | None, offset: int) -> tuple[list[KeyRecord], int]:
    """Give a page of the keys, revoked ones too, newest first, and how many there are."""
    wanted = select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.id).offset(offset)
    rows = await connection.execute(wanted if limit is None else wanted.limit(limit))
    total = await connection.scalar(select(func.count()).select_from(api_keys))
    return [record(row) for row in rows], total or 0


def record(row: Row[Any]) -> KeyRecord:
    """Give a row of `api_keys` as it is listed."""
    return KeyRecord(
        id=str(row.id),
        name=row.name,
        prefix=row.prefix,
        scope=row.scope,
        created_at=stamp(row.created_at),
        last_used_at=stamp(row.last_used_at) if row.last_used_at else None,
        revoked_at=stamp(row.revoked_at) if row.revoked_at else None,
    )


def check(name: str, scope: str) -> None:
    """Refuse what no key can be made from.

    Raises:
        UsageError: no such scope, or a name that is empty, too long or does not print.
    """
    if not is_scope(scope):
        raise UsageError(f"{scope!r} is no scope", hint=f"one of: {', '.join(get_args(Scope))}")
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise UsageError(f"{name[:40]!r} cannot name a key", hint=f"up to {_LONGEST_NAME} printable characters")


def is_scope(text: str) -> bool:
    """Whether `text` is a scope's name."""
    return text in get_args(Scope)


def _is_meant(row: Row[Any], reference: str) -> bool:
    try:
        if row.id == ids.parse(reference, "key"):
            return True
    except NotFoundError:
        pass
    prefixes: Sequence[str] = re.findall(r"^hud_[\w-]{4,}", reference)
    return row.name == reference or any(row.prefix.startswith(prefix[:_PREFIX_LENGTH]) for prefix in prefixes)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
