"""Who may call what: a Bearer key on every route that is not open, of a scope that fits the method.

A route says otherwise by its options: `opt={"open": True}` needs no key, `opt={"scope": "admin"}` needs that scope.
Without it, reading needs `read` and everything else `write`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hud.errors import NotAuthorisedError

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from hud.platform.records import Scope
    from hud_platform.backend import Backend
    from hud_platform.keys import Caller

__all__ = ["authorise", "bearer", "caller_of"]

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


async def authorise(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Find the caller and keep it as `connection.state.caller`; a Litestar guard.

    Raises:
        NotAuthorisedError: no key, one that is not known, or one whose scope does not reach.
    """
    if handler.opt.get("open"):
        return
    backend: Backend = connection.app.state.backend
    caller = await backend.keys.caller(bearer(connection))
    if caller is None:
        raise NotAuthorisedError("the API key is missing, unknown or revoked", hint="hud login")
    wanted: Scope = handler.opt.get("scope") or ("read" if connection.scope.get("method") in _READING else "write")
    if not caller.may(wanted):
        raise NotAuthorisedError(
            f"the key {caller.name!r} may {caller.scope}, and this needs {wanted}",
            hint=f"hud platform key create NAME --scope {wanted}",
        )
    connection.state.caller = caller


def bearer(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Give the key that a request carries, or an empty string."""
    kind, _, key = connection.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def caller_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    """Give the caller that `authorise` found."""
    caller: Caller = connection.state.caller
    return caller
