"""Who may call what: a Bearer key on every route that is not open, of a scope that fits the method (PA-02).

A route says otherwise by its options: `opt={"open": True}` needs no key, `opt={"scope": "admin"}` needs that scope.
Without it, reading needs `read` and everything else `write`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hud.errors import NotAuthorisedError
from hud_platform.web.refusals import Forbidden

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.types import ASGIApp, Receive, Send

    from hud.platform.records import Scope
    from hud_platform.access.keys import Caller
    from hud_platform.backend import Backend

__all__ = ["authorising", "bearer", "require"]

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def authorising(backend: Backend) -> Callable[[ASGIApp], ASGIApp]:
    """Make a Litestar middleware that finds the caller and keeps it as `scope["caller"]`.

    A guard would do the same, but Litestar copies the route's handler for each call of one.
    """

    def around(app: ASGIApp) -> ASGIApp:
        async def authorise(scope: Any, receive: Receive, send: Send) -> None:
            options = scope["route_handler"].opt
            if not options.get("open"):
                wanted: Scope = options.get("scope") or ("read" if scope.get("method") in _READING else "write")
                scope["caller"] = await require(backend, _bearer(scope), wanted)
            await app(scope, receive, send)

        return authorise

    return around


async def require(backend: Backend, key: str, scope: Scope) -> Caller:
    """Give whose key this is, when it may do what `scope` names.

    Raises:
        NotAuthorisedError: it is empty, or not known.
        Forbidden: its scope does not reach.
    """
    caller = await backend.keys.caller(key)
    if caller is None:
        if not key:
            raise NotAuthorisedError("the request carries no API key", hint="hud login, or set HUD_API_KEY")
        raise NotAuthorisedError("the API key is unknown or was revoked", hint="hud login, or set HUD_API_KEY")
    if not caller.may(scope):
        raise Forbidden(
            f"the key {caller.name!r} has the scope {caller.scope!r}, and this needs {scope!r}",
            hint=f"hud platform key create NAME --scope {scope}",
        )
    return caller


def bearer(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Give the key that a request or a WebSocket carries in its header, or an empty string."""
    return _bearer(connection.scope)


def _bearer(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, key = value.decode("latin-1").partition(" ")
            return key.strip() if kind.lower() == "bearer" else ""
    return ""
