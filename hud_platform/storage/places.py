"""Where a platform keeps what is not in its data folder, noted there for its next start and for other commands.

Without it a start that is not told of the database again would begin an empty one, and `gc` would take every blob for
one that nothing needs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from hud import files
from hud.errors import HudError

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["Places", "completed", "recall", "remember"]


@dataclass(frozen=True, kw_only=True)
class Places:
    """The addresses, None for the data folder itself."""

    database_url: str | None = None
    blobs_url: str | None = None


def remember(folder: DataFolder, config: PlatformConfig) -> None:
    """Note where a platform that opened keeps its records and blobs; its owner alone may read it."""
    places = Places(database_url=config.database_url, blobs_url=config.blobs_url)
    if places != recall(folder):
        files.replace(folder.places, f"{json.dumps(asdict(places))}\n".encode(), mode=0o600)


def recall(folder: DataFolder) -> Places:
    """Give what was noted last, or the data folder for all.

    Raises:
        HudError: the note cannot be read.
    """
    try:
        noted = json.loads(folder.places.read_bytes())
        return Places(database_url=noted["database_url"], blobs_url=noted["blobs_url"])
    except FileNotFoundError:
        return Places()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HudError(
            f"{folder.places} cannot be read: {error}", hint="remove it, and name --database and --blobs again"
        ) from error


def completed(config: PlatformConfig, folder: DataFolder) -> PlatformConfig:
    """Give a configuration in which what was not told is as it was at the last start."""
    places = recall(folder)
    return replace(
        config,
        database_url=config.database_url or places.database_url,
        blobs_url=config.blobs_url or places.blobs_url,
    )
