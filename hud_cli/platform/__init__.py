"""`hud platform`: run a platform on this machine. The one place of the commands that reaches `hud_platform`."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(name="platform", help="Run a platform on this machine.", rich_markup_mode=None, context_settings={"help_option_names": ["--help", "-h"]})
