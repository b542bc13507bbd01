"""`hud platform logs`: what a platform wrote into its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import NotFoundError
from hud_cli import output
from hud_cli.platform.local import DEFAULT_DATA, DataOption, JsonOption, existing_folder, require_extra

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["logs"]

_POLL_S = 0.2
_BLOCK_BYTES = 64 * 1024


def logs(
    data: DataOption = DEFAULT_DATA,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="NUMBER", help="Last lines to print.", min=0)] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    json: JsonOption = False,
) -> int:
    """Print the last lines of the platform's log."""
    require_extra()
    path = existing_folder(data).log
    if not path.is_file():
        raise NotFoundError(f"{path} is not there", hint="hud platform up")
    end, text = _tail(path, lines)
    if json:
        output.document({"lines": text.splitlines()})
        return 0
    output.data(text)
    if follow:
        _follow(path, end)
    return 0


def _tail(path: Path, lines: int) -> tuple[int, str]:
    """Give the size of the file and its last lines."""
    with path.open("rb") as file:
        end = start = file.seek(0, 2)
        kept = b""
        while start > 0 and kept.count(b"\n") <= lines:
            begin = max(0, start - _BLOCK_BYTES)
            file.seek(begin)
            kept = file.read(start - begin) + kept
            start = begin
    last = kept.splitlines(keepends=True)[-lines:] if lines else []
    return end, b"".join(last).decode("utf-8", "replace")


def _follow(path: Path, position: int) -> None:
    import time

    while True:
        try:
            if path.stat().st_size < position:
                position = 0  # a new file took its place
            with path.open("rb") as file:
                file.seek(position)
                while block := file.read(_BLOCK_BYTES):
                    position += len(block)
                    output.data(block.decode("utf-8", "replace"))
        except FileNotFoundError:
            pass
        time.sleep(_POLL_S)
