"""`hud platform down`: stop a platform in order."""

from __future__ import annotations

from typing import Annotated

import typer

from hud.errors import DeadlineError
from hud_cli import output
from hud_cli.platform.local import DEFAULT_DATA, DataOption, JsonOption, existing_folder, require_extra, running

__all__ = ["down"]

_POLL_S = 0.05


def down(
    data: DataOption = DEFAULT_DATA,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait for its end.", min=0)
    ] = 30.0,
    json: JsonOption = False,
) -> int:
    """Stop the platform; builds in progress go on after the next start.

    It is no error when none runs.
    """
    import os
    import signal
    import time

    require_extra()
    folder = existing_folder(data)
    info = running(folder)
    if info is None or info.pid == 0:
        _tell(None, as_json=json)
        return 0
    os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while (now := running(folder)) is not None and now.pid == info.pid:
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"the platform (process {info.pid}) did not end in {timeout:g} s",
                hint=f"hud platform down --timeout 120, or kill -9 {info.pid}: nothing is lost by it",
            )
        time.sleep(_POLL_S)
    _tell(info.pid, as_json=json)
    return 0


def _tell(pid: int | None, *, as_json: bool) -> None:
    if as_json:
        output.document({"stopped": pid is not None, "pid": pid})
    else:
        output.note("No platform runs." if pid is None else f"Stopped the platform (process {pid}).")
