"""The web application: every route, who may call it, and one shape of error."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.di import Provide

from hud_platform.access.access import authorising
from hud_platform.access.keys import Caller
from hud_platform.backend import Backend
from hud_platform.routes import (
    builds,
    contexts,
    device,
    events,
    health,
    identity,
    keys,
    pages,
    projects,
    registry,
    tasksets,
    uploads,
)
from hud_platform.web import replies

__all__ = ["create_app"]

_SUBJECTS = (identity, projects, keys, device, registry, uploads, contexts, builds, tasksets, events, health, pages)

_BODY_LIMIT_BYTES = 64 * 2**20  # routes that take more say so


def create_app(backend: Backend) -> Litestar:
    """Make the application that answers for an open backend."""

    def give_backend() -> Backend:
        return backend

    handlers = [route for subject in _SUBJECTS for route in subject.routes]
    app = Litestar(
        route_handlers=handlers,
        middleware=[authorising(backend)],
        dependencies={
            "backend": Provide(give_backend, sync_to_thread=False),
            "caller": Provide(_caller, sync_to_thread=False),
        },
        exception_handlers=replies.handlers,
        request_max_body_size=_BODY_LIMIT_BYTES,
        logging_config=None,
        openapi_config=None,
    )
    app.state.backend = backend  # now: a state that is passed in is copied to its depths
    app.state.handlers = handlers
    return app


def _caller(scope: dict[str, Any], backend: Backend) -> Caller:  # noqa: ARG001
    # Two dependencies that do not need each other are resolved in a task group, which costs more than a whole request.
    caller: Caller = scope["caller"]
    return caller
