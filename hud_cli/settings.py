"""`hud set`: keep settings in ~/.hud/.env."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["set_settings"]


def set_settings(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Keep settings such as HUD_API_KEY=… in ~/.hud/.env."""
    raise NotImplementedError
