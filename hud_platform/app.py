"""The web application: every route, one shape of error, and the parts that live as long as it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.connection import Request
from litestar.di import Provide

from hud_platform import replies
from hud_platform.access import authorise, caller_of
from hud_platform.backend import Backend, open_backend
from hud_platform.keys import Caller
from hud_platform.routes import identity

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig

__all__ = ["create_app"]


def create_app(config: PlatformConfig) -> Litestar:
    """Make the application; nothing is opened before it starts."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_backend(config) as backend:
            app.state.backend = backend
            yield

    return Litestar(
        route_handlers=[*identity.routes],
        guards=[authorise],
        dependencies={
            "backend": Provide(_backend, sync_to_thread=False),
            "caller": Provide(_caller, sync_to_thread=False),
        },
        exception_handlers=replies.handlers,
        lifespan=[lifespan],
        openapi_config=None,
    )


def _backend(request: Request[Any, Any, Any]) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


def _caller(request: Request[Any, Any, Any]) -> Caller:
    return caller_of(request)
