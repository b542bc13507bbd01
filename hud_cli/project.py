"""`hud project`: where new environments and tasksets go."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(name="project", help="Projects of a platform.", rich_markup_mode=None, context_settings={"help_option_names": ["--help", "-h"]})
