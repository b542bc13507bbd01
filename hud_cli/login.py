"""`hud login`: get a key of a platform through a browser (RFC 8628)."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["login"]


def login(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Get an API key through a browser and keep it."""
    raise NotImplementedError
