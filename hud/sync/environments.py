"""Link a folder to an environment of a platform.

Source: command-line specification, section 4.8.
"""

from __future__ import annotations

from pathlib import Path

from hud.platform import identity, link
from hud.platform.client import Platform
from hud.platform.link import Link
from hud.platform.records import EnvironmentRecord

__all__ = ["keep"]


def keep(platform: Platform, folder: Path, environment: EnvironmentRecord) -> Link:
    """Link a folder to an environment.

    Raises:
        HudError: the folder is linked to another platform, user or team.
    """
    scope = identity.scope(platform, identity.me(platform))
    return link.save(folder, scope, registry_id=environment.id)
