"""Whether the platform lives and is ready, and what it counted."""

from __future__ import annotations

from typing import Any

from litestar import Response, get

from hud.version import __version__
from hud_platform.backend import Backend
from hud_platform.web import readiness
from hud_platform.web.readiness import Readiness

__all__ = ["routes"]


@get("/health", opt={"open": True})
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "version": __version__}


@get("/ready", opt={"open": True})
async def ready(backend: Backend) -> Response[Readiness]:
    """What it stands on answers too: 200, or 503 and what does not. Without an engine only builds do not work."""
    found = await readiness.check(backend)
    if found.status == "ready":
        return Response(found)
    return Response(found, status_code=503, headers={"Retry-After": "5"})


@get("/metrics", opt={"scope": "read"}, media_type="text/plain; version=0.0.4")
async def metrics(backend: Backend) -> bytes:
    """Counters in Prometheus's text form."""
    return backend.metrics.render()


routes: list[Any] = [health, ready, metrics]
