"""Whether the platform lives and is ready, and what it counted."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from sqlalchemy import text

from hud.version import __version__
from hud_platform.backend import Backend

__all__ = ["routes"]


@get("/health", opt={"open": True})
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "version": __version__}


@get("/ready", opt={"open": True})
async def ready(backend: Backend) -> Response[dict[str, Any]]:
    """What it stands on answers too."""
    async with backend.database.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return Response({"status": "ready"})


@get("/metrics", opt={"scope": "read"}, media_type="text/plain; version=0.0.4")
async def metrics(backend: Backend) -> bytes:
    """Counters in Prometheus's text form."""
    return backend.metrics.render()


routes: list[Any] = [health, ready, metrics]
