"""Who a key belongs to, and what this platform can do."""

from __future__ import annotations

from typing import get_args

from litestar import get

from hud.platform.records import Capabilities, Extension, Identity
from hud.version import __version__
from hud_platform.access.keys import Caller
from hud_platform.backend import Backend

__all__ = ["routes"]


@get("/v2/capabilities")
async def capabilities() -> Capabilities:
    """What this platform can do beyond the public API."""
    return Capabilities(server="hud-platform", version=__version__, extensions=list(get_args(Extension)))


@get("/v2/auth/me")
async def me(backend: Backend, caller: Caller) -> Identity:
    """Whose key this is; the ids outlive keys and restarts (PA-08)."""
    facts = backend.facts
    return Identity(user_id=facts.user_id, team_id=facts.team_id, scope=caller.scope, key_name=caller.name)


routes = [capabilities, me]
