"""What a platform knows of itself: who its user and team are, made once and never changed (PA-08)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from hud_platform.storage.tables import facts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Facts", "find_or_make"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The platform's own identity, dashed UUIDs."""

    user_id: str
    team_id: str


async def find_or_make(connection: AsyncConnection) -> Facts:
    """Give the platform's identity; the first time makes it."""
    known = {row.name: row.value for row in await connection.execute(select(facts.c.name, facts.c.value))}
    for name in ("user_id", "team_id"):
        if name not in known:
            known[name] = str(uuid.uuid4())
            await connection.execute(facts.insert().values(name=name, value=known[name]))
    return Facts(user_id=known["user_id"], team_id=known["team_id"])
