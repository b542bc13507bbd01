"""`hud platform gc`: remove what nothing needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import HudError
from hud_cli import output
from hud_cli.platform.local import DEFAULT_DATA, DataOption, JsonOption, existing_folder, local_config, require_extra

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig
    from hud_platform.storage.cleaning import Cleaned

__all__ = ["gc"]


def gc(
    data: DataOption = DEFAULT_DATA,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
    json: JsonOption = False,
) -> int:
    """Remove what nothing needs any more; the platform may run meanwhile.

    That is contexts that were not used for 30 days and their blobs, archives whose build never began, work trees,
    logs of builds that ended 90 days ago, images of old versions, and logins that expired.
    """
    require_extra()
    import asyncio

    cleaned = asyncio.run(_clean(local_config(existing_folder(data)), dry_run=dry_run))
    if json:
        output.document(_document(cleaned, dry_run=dry_run))
        return 0
    verb = "Would remove" if dry_run else "Removed"
    rows = [(name, part) for name, part in _document(cleaned, dry_run=dry_run).items() if isinstance(part, dict)]
    for name, part in rows:
        output.data(f"{name.ljust(10)} {part['count']:>8}  {output.amount(part['size_bytes']):>10}\n")
    output.note(f"{verb} {output.amount(cleaned.size_bytes)}.")
    if cleaned.images_problem:
        output.note(f"Images stay: {cleaned.images_problem}")
    return 0


async def _clean(config: PlatformConfig, *, dry_run: bool) -> Cleaned:
    from hud_platform.backend import open_backend
    from hud_platform.storage import cleaning

    async with open_backend(config) as backend:
        try:
            return await cleaning.clean(backend, dry_run=dry_run)
        except OSError as error:
            raise HudError(f"cannot remove {error.filename or config.data}: {error.strerror}") from error


def _document(cleaned: Cleaned, *, dry_run: bool) -> dict[str, object]:
    from dataclasses import asdict

    return {"dry_run": dry_run, "size_bytes": cleaned.size_bytes, **asdict(cleaned)}
