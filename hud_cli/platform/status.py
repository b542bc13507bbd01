"""`hud platform status`: whether a platform runs here, and what it holds."""

from __future__ import annotations

from hud_cli import output
from hud_cli.platform.local import DEFAULT_DATA, DataOption, JsonOption, existing_folder, require_extra, running

__all__ = ["status"]


def status(data: DataOption = DEFAULT_DATA, json: JsonOption = False) -> int:
    """Say whether the platform runs, where, and what it holds; exit 0 when it is ready, else 1."""
    require_extra()
    from hud_platform.storage.counts import counts

    folder = existing_folder(data)
    info = running(folder)
    is_ready = info is not None and bool(info.url)
    held = counts(folder.root)
    if json:
        output.document(
            {
                "running": info is not None,
                "ready": is_ready,
                "url": info.url or None if info else None,
                "pid": info.pid or None if info else None,
                "version": info.version or None if info else None,
                "data": str(folder.root),
                "counts": held,
            }
        )
        return 0 if is_ready else 1
    if info is None:
        output.note(f"No platform runs on {folder.root}. Start it: hud platform up")
    elif not is_ready:
        output.note(f"Process {info.pid} has {folder.root} and is not ready.")
    else:
        output.data(f"url      {info.url}\npid      {info.pid}\nversion  {info.version}\n")
    output.data(f"data     {folder.root}\n" + "".join(f"{name.ljust(8)} {number}\n" for name, number in held.items()))
    return 0 if is_ready else 1
