"""Who may call what: a Bearer key on every route that is not open, of a scope that fits the method (PA-02).

A route says otherwise by its options: `opt={"open": True}` needs no key, `opt={"scope": "admin"}` needs that scope.
Without it, reading needs `read` and everything else `write`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hud.errors import NotAuthorisedError
from hud_platform.refusals import Forbidden

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from hud.platform.records import Scope
    from hud_platform.backend import Backend
    from hud_platform.keys import Caller

__all__ = ["authorise", "bearer", "caller_of", "require"]

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


async def authorise(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Find the caller and keep it as `connection.state.caller`; a Litestar guard.

    Raises:
        NotAuthorisedError: no key, or one that is not known.
        Forbidden: its scope does not reach.
    """
    if handler.opt.get("open"):
        return
    backend: Backend = connection.app.state.backend
    wanted: Scope = handler.opt.get("scope") or ("read" if connection.scope.get("method") in _READING else "write")
    connection.scope["caller"] = await require(backend, bearer(connection), wanted)  # type: ignore[typeddict-unknown-key]


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
    """Give the key that a request carries in its header, or an empty string."""
    for name, value in connection.scope["headers"]:
        if name == b"authorization":
            kind, _, key = value.decode("latin-1").partition(" ")
            return key.strip() if kind.lower() == "bearer" else ""
    return ""


def caller_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    """Give the caller that `authorise` found."""
    caller: Caller = connection.scope["caller"]  # type: ignore[typeddict-item]
    return caller
