"""Everything that a platform can do without, in all rooms: what `hud platform gc` removes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from hud.errors import UnreachableError
from hud_platform.access import device_login
from hud_platform.builds import images
from hud_platform.storage import gc
from hud_platform.storage.leftovers import Share
from hud_platform.storage.tables import device_logins
from hud_platform.web.times import now

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["Cleaned", "clean"]


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What was removed, or would be, by kind.

    Attributes:
        images_problem: Why no image was looked at, where no engine answers; else None.
    """

    contexts: Share
    blobs: Share
    uploads: Share
    worktrees: Share
    logs: Share
    images: Share
    logins: Share
    images_problem: str | None = None

    @property
    def size_bytes(self) -> int:
        """The bytes of all together."""
        parts = (self.blobs, self.uploads, self.worktrees, self.logs, self.images)
        return sum(part.size_bytes for part in parts)


async def clean(backend: Backend, *, dry_run: bool) -> Cleaned:
    """Remove what nothing needs, or only count it.

    Raises:
        HudError: the store of blobs does not answer.
        OSError: something may not be removed.
    """
    collected = await gc.collect(backend, dry_run=dry_run)
    problem = None
    try:
        removed = await images.remove_unused(backend, dry_run=dry_run)
        of_images = Share(count=len(removed.images), size_bytes=removed.size_bytes)
    except UnreachableError as error:
        of_images, problem = Share(), str(error)
    return Cleaned(
        contexts=Share(count=collected.contexts),
        blobs=collected.blobs,
        uploads=collected.uploads,
        worktrees=collected.worktrees,
        logs=collected.logs,
        images=of_images,
        logins=Share(count=await _logins(backend, dry_run=dry_run)),
        images_problem=problem,
    )


async def _logins(backend: Backend, *, dry_run: bool) -> int:
    async with backend.database.begin() as connection:
        if not dry_run:
            return await device_login.purge(connection)
        expired = select(func.count()).select_from(device_logins).where(device_logins.c.expires_at <= now())
        return await connection.scalar(expired) or 0
