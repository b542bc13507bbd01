"""The images of versions: whether one is still there, and which may go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from hud.errors import HudError, NotFoundError
from hud.eval.runtimes.docker_connection import engine, translated
from hud_platform.storage.tables import builds, environments, versions

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["KEPT_VERSIONS", "Removed", "remove_unused", "require"]

KEPT_VERSIONS = 5
"""How many versions of an environment keep their images, the current one included."""

_LABEL = "hud.environment.id"


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What was removed from the engine; `size_bytes` counts layers that other images still use, too."""

    images: list[str]
    size_bytes: int


async def require(image: str, what: str) -> None:
    """Make sure that an image can still be run.

    Raises:
        NotFoundError: It was removed; `what` names whose it is.
        UnreachableError: No engine answers.
    """
    if "@" in image:  # in a registry, which keeps what was pushed
        return
    try:
        await asyncio.to_thread(_inspect, image)
    except NotFoundError as error:
        raise NotFoundError(
            f"the image of {what} is no longer on the platform's engine", hint="deploy that source again"
        ) from error


async def remove_unused(backend: Backend, *, keep: int = KEPT_VERSIONS, dry_run: bool = False) -> Removed:
    """Remove from the engine the images of builds that no kept version runs, or only say which.

    Kept are, of each environment, the current version and the last `keep`, and whatever a build under way has made.
    Only images of this platform's own builds are touched.

    Raises:
        UnreachableError: No engine answers.
    """
    wanted = select(versions.c.environment_id, versions.c.number, versions.c.build_id)
    async with backend.database.connect() as connection:
        current = {
            row.id: row.current_version
            for row in await connection.execute(select(environments.c.id, environments.c.current_version))
        }
        ended = set(await connection.scalars(select(builds.c.id).where(builds.c.ended_at.is_not(None))))
        rows = (await connection.execute(wanted.order_by(versions.c.number.desc()))).all()
    seen: dict[Any, int] = {}
    kept: set[Any] = set()
    for row in rows:
        seen[row.environment_id] = seen.get(row.environment_id, 0) + 1
        if seen[row.environment_id] <= keep or row.number == current[row.environment_id]:
            kept.add(row.build_id)
    going = {str(build_id) for build_id in ended - kept}
    return await asyncio.to_thread(_remove, going, dry_run)


def _remove(build_ids: set[str], dry_run: bool) -> Removed:
    client = engine()
    with translated():
        listed = client.images(filters={"label": _LABEL})
    removed: list[str] = []
    size_bytes = 0
    for image in listed:
        for reference in image.get("RepoTags") or ():
            if reference.rpartition(":")[2] not in build_ids:
                continue
            if not dry_run and not _removed(reference):
                continue
            removed.append(reference)
            size_bytes += int(image["Size"])
    return Removed(images=removed, size_bytes=size_bytes)


def _removed(reference: str) -> bool:
    """Remove an image by its tag, so that what other tags name stays; False when a container uses it."""
    try:
        with translated(image=reference):
            engine().remove_image(reference)
    except HudError:
        return False
    return True


def _inspect(image: str) -> None:
    with translated(image=image):
        engine().inspect_image(image)  # type: ignore[no-untyped-call]
