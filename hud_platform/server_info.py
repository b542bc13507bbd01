"""What a running server says of itself in its data folder, while it is ready."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hud import files

if TYPE_CHECKING:
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["ServerInfo", "read", "write"]


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """A running platform; `url` is empty while it is not ready."""

    url: str
    pid: int
    data: str
    version: str


def read(folder: DataFolder) -> ServerInfo | None:
    """Give what a server last said, or None when it said nothing that can be read."""
    try:
        said = json.loads(folder.server.read_bytes())
        return ServerInfo(
            url=str(said["url"]), pid=int(said["pid"]), data=str(said["data"]), version=str(said["version"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(folder: DataFolder, info: ServerInfo) -> None:
    """Say that a server is ready."""
    files.replace(folder.server, f"{json.dumps(asdict(info))}\n".encode(), mode=0o600)
