"""Files of the data folder that nothing needs any more: archives, work trees, logs of builds."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy import exists as exists_in

from hud.platform.records import ENDED_STATUSES
from hud_platform.storage import tables
from hud_platform.web.times import aware

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["Share", "logs", "uploads", "worktrees"]

_ARCHIVE = ".tar.gz"


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of one kind, and their bytes."""

    count: int = 0
    size_bytes: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(count=self.count + other.count, size_bytes=self.size_bytes + other.size_bytes)


async def uploads(backend: Backend, before: datetime, *, dry_run: bool) -> Share:
    """Remove archives whose build has ended, and those for which none began in time; half-written ones too."""
    builds, table = tables.builds, tables.uploads
    found = await asyncio.to_thread(_inside, backend.data.uploads)
    async with backend.database.begin() as connection:
        begun = {row.id: row.status for row in await connection.execute(select(builds.c.id, builds.c.status))}
        late = (table.c.created_at < before) & ~exists_in().where(builds.c.id == table.c.build_id)
        if not dry_run:  # first, so that nobody starts a build of what goes
            await connection.execute(delete(table).where(late))
        expected = set((await connection.scalars(select(table.c.build_id).where(~late))).all())

    def is_needed(path: Path) -> bool:
        build_id = _id(path.name.removesuffix(_ARCHIVE)) if path.name.endswith(_ARCHIVE) else None
        if build_id is None:
            return not _is_older(path, before)
        if build_id in begun:
            return begun[build_id] not in ENDED_STATUSES
        return build_id in expected or not _is_older(path, before)

    return await asyncio.to_thread(_remove, found, is_needed, dry_run)


async def worktrees(backend: Backend, *, dry_run: bool) -> Share:
    """Remove the folders of environments that are gone."""
    found = await asyncio.to_thread(_inside, backend.data.contexts)
    async with backend.database.connect() as connection:
        known = set((await connection.scalars(select(tables.environments.c.id))).all())
    return await asyncio.to_thread(_remove, found, lambda path: _id(path.name) in known, dry_run)


async def logs(backend: Backend, before: datetime, *, dry_run: bool) -> Share:
    """Remove the folders of builds that ended before a time, or that there are none of."""
    builds = tables.builds
    found = await asyncio.to_thread(_inside, backend.data.builds)
    async with backend.database.connect() as connection:
        ended = {row.id: row.ended_at for row in await connection.execute(select(builds.c.id, builds.c.ended_at))}

    def is_needed(path: Path) -> bool:
        build_id = _id(path.name)
        if build_id not in ended:
            return not _is_older(path, before)
        ended_at = ended[build_id]
        return ended_at is None or aware(ended_at) >= before

    return await asyncio.to_thread(_remove, found, is_needed, dry_run)


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _is_older(path: Path, before: datetime) -> bool:
    try:
        return path.lstat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return False


def _remove(found: Iterable[Path], is_needed: Callable[[Path], bool], dry_run: bool) -> Share:
    removed = Share()
    for path in found:
        if is_needed(path):
            continue
        removed += Share(count=1, size_bytes=_size(path))
        if dry_run:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return removed


def _size(path: Path) -> int:
    size_bytes = 0
    pending = [os.fspath(path)]
    while pending:
        place = pending.pop()
        try:
            if os.path.isdir(place) and not os.path.islink(place):
                pending += [item.path for item in os.scandir(place)]
            else:
                size_bytes += os.lstat(place).st_size
        except FileNotFoundError:
            pass
    return size_bytes
