"""`hud platform backup` and `restore`: all of a platform's data in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hud_cli import output
from hud_cli.platform.local import DEFAULT_DATA, DataOption, JsonOption, existing_folder, require_extra

__all__ = ["backup", "restore"]


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The tar file to write.")],
    data: DataOption = DEFAULT_DATA,
    json: JsonOption = False,
) -> int:
    """Write all of the platform's data into one file, also while it runs.

    The file holds the keys, so it is as secret as they are. Images are not in it: they stay on the Docker engine or
    in the registry.
    """
    require_extra()
    from hud_platform.storage.backup import back_up

    made = back_up(existing_folder(data), Path(file))
    size_bytes = Path(file).stat().st_size
    if json:
        output.document({"file": str(Path(file).absolute()), "size_bytes": size_bytes, "files": made.files})
    else:
        output.note(f"Wrote {file}: {made.files} files, {output.amount(size_bytes)}. It holds keys: keep it safe.")
    return 0


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that hud platform backup wrote.")],
    data: DataOption = DEFAULT_DATA,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace what is in the data folder.")] = False,
    json: JsonOption = False,
) -> int:
    """Put a backup into a data folder, while no platform runs on it."""
    require_extra()
    from hud_platform.storage import backup as backups

    root = Path(data).expanduser().absolute()
    put_back = backups.restore(Path(file), root, force=force)
    if json:
        output.document({"data": str(root), "created_at": put_back.created_at, "files": put_back.files})
    else:
        output.note(f"Restored {put_back.files} files of {put_back.created_at} into {root}. Next: hud platform up")
    return 0
