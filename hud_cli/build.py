"""`hud build`: builds on a platform: list, follow, cancel."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(name="build", help="Builds on a platform: list, follow, cancel.", rich_markup_mode=None, context_settings={"help_option_names": ["--help", "-h"]})
