"""`hud env`: the environments that a platform has, and their versions."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(name="env", help="Environments on a platform and their versions.", rich_markup_mode=None, context_settings={"help_option_names": ["--help", "-h"]})
