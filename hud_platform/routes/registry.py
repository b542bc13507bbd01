"""The registry: environments by name, their versions, and going back to an earlier one."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get, post
from msgspec import Meta, Struct

from hud_platform.backend import Backend
from hud_platform.builds import environments, images
from hud_platform.web.compact import compact
from hud_platform.web.pages import MOST, Limit, Listing, Offset

__all__ = ["routes"]


class Rollback(Struct, kw_only=True):
    """Which version to run again."""

    version: Annotated[int, Meta(ge=0, le=MOST)]


@get("/v2/registry")
async def list_environments(
    backend: Backend,
    search: str | None = None,
    sort_by: str | None = None,
    limit: Limit = None,
    offset: Offset = 0,
) -> Listing[dict[str, Any]]:
    """A page of the environments whose name holds `search`; by name, or with `sort_by=date` the latest first."""
    async with backend.database.connect() as connection:
        page = await environments.list_records(
            connection, search=search, newest_first=sort_by == "date", limit=limit, offset=offset
        )
    return Listing(items=[compact(record) for record in page.items], total=page.total)


@get("/v2/registry/{environment_id:str}")
async def read_environment(backend: Backend, environment_id: str) -> dict[str, Any]:
    """One environment."""
    return await environments.read_record(backend.reader, environment_id)


@get("/v2/registry/{environment_id:str}/versions")
async def list_versions(
    backend: Backend,
    environment_id: str,
    limit: Limit = None,
    offset: Offset = 0,
) -> Listing[dict[str, Any]]:
    """A page of an environment's versions, newest first."""
    async with backend.database.connect() as connection:
        environment = await environments.find(connection, environment_id)
        page = await environments.list_versions(connection, environment, limit=limit, offset=offset)
    return Listing(items=[compact(record) for record in page.items], total=page.total)


@post("/v2/registry/{environment_id:str}/rollback", status_code=200)
async def rollback(backend: Backend, environment_id: str, data: Rollback) -> dict[str, Any]:
    """Make a new version that runs the image of an earlier one."""
    async with backend.database.connect() as connection:
        environment = await environments.find(connection, environment_id)
        earlier = await environments.version_row(connection, environment, data.version)
    await images.require(earlier.image, f"version {earlier.number} of {environment.name!r}")
    async with backend.database.begin() as connection:
        row = await environments.add_version(connection, environment.id, environments.rollback_source(earlier))
    return compact(environments.version_record(row, row.number))


routes: list[Any] = [list_environments, read_environment, list_versions, rollback]
