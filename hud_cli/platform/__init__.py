"""`hud platform`: run a platform on this machine. The one place of the commands that reaches `hud_platform`."""

from __future__ import annotations

import typer

from hud_cli.platform import key
from hud_cli.platform.backup import backup, restore
from hud_cli.platform.down import down
from hud_cli.platform.gc import gc
from hud_cli.platform.logs import logs
from hud_cli.platform.status import status
from hud_cli.platform.up import up

__all__ = ["app"]

_SETTINGS = {"help_option_names": ["--help", "-h"]}

app = typer.Typer(
    name="platform",
    help="Run a platform on this machine.",
    rich_markup_mode=None,
    context_settings=_SETTINGS,
)
for _command in (up, down, status, logs, backup, restore, gc):
    app.command(_command.__name__, context_settings=_SETTINGS)(_command)
app.add_typer(key.app)
