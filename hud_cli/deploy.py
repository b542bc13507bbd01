"""`hud deploy`: pack the context, build it on a platform, and register the environment by its name."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["deploy"]


def deploy(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Build an environment on a platform and register it by its name."""
    raise NotImplementedError
