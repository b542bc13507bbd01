"""The settings of this user's commands, pointed to a platform; what was there before is kept."""

from __future__ import annotations

from pathlib import Path

__all__ = ["addresses", "point_to"]


def addresses(url: str) -> dict[str, str]:
    """Give the six addresses of a platform that serves everything from one origin."""
    from hud.settings import PUBLIC_ADDRESSES

    return {name: f"{url}/v3/api" if name == "HUD_TELEMETRY_URL" else url for name in PUBLIC_ADDRESSES}


def point_to(url: str, key: str) -> Path | None:
    """Write a platform's addresses and key into `~/.hud/.env`.

    Returns:
        Where the file as it was is kept, when it held a key of another platform; else None.
    """
    from hud import env_file, files, settings

    path = settings.stored_path()
    stored = env_file.read(path)
    kept = None
    if stored.get("HUD_API_KEY") not in (None, "", key):
        kept = _free_name(path)
        files.replace(kept, path.read_bytes(), mode=0o600)
    settings.save({**addresses(url), "HUD_API_KEY": key})
    return kept


def _free_name(path: Path) -> Path:
    """Give a name beside `path` that nothing has: what was kept before is not overwritten."""
    name = path.with_name(".env.before-platform")
    number = 1
    while name.exists():
        number += 1
        name = path.with_name(f".env.before-platform-{number}")
    return name
