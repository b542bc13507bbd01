"""`hud sync`: task rows here against a taskset on a platform."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(name="sync", help="Send task rows to a platform: only what changed.", rich_markup_mode=None, context_settings={"help_option_names": ["--help", "-h"]})
