"""Whose key it is.

Source: platform API specification, section 5.
"""

from __future__ import annotations

from dataclasses import replace

from hud.errors import PlatformError
from hud.names import dashed
from hud.platform.client import Platform
from hud.platform.link import LinkScope
from hud.platform.records import Identity

__all__ = ["me", "scope"]


def me(platform: Platform) -> Identity:
    """Ask whose key it is; both ids have dashes.

    Raises:
        HudError: as `Platform.call`.
    """
    identity = platform.call("GET", "/auth/me", into=Identity)
    user_id, team_id = dashed(identity.user_id), dashed(identity.team_id)
    if user_id is None or team_id is None:
        raise PlatformError(
            f"{platform.origin} says that the key is of {identity.user_id!r} in {identity.team_id!r}: these are no ids",
            status=200,
            hint="does HUD_API_URL name a HUD platform?",
        )
    return replace(identity, user_id=user_id, team_id=team_id)


def scope(platform: Platform, identity: Identity) -> LinkScope:
    """Give whose ids the platform's replies to this key are, for the folder's link."""
    return LinkScope(origin=platform.origin, user_id=identity.user_id, team_id=identity.team_id)
