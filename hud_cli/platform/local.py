"""The platform of this machine, as its commands find it: the data folder, and the server that has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import HudError, NotFoundError

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig
    from hud_platform.server_info import ServerInfo
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["DEFAULT_DATA", "DataOption", "JsonOption", "existing_folder", "local_config", "require_extra", "running"]

DEFAULT_DATA = "~/.hud/platform"

DataOption = Annotated[
    str, typer.Option("--data", metavar="FOLDER", envvar="HUD_PLATFORM_DATA", help="The platform's data folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")]


def require_extra() -> None:
    """Refuse where the platform's own packages are not installed.

    Raises:
        HudError: they are not.
    """
    from importlib.util import find_spec

    # The extra's packages come together; this one nothing else brings, and it takes long to import.
    if find_spec("litestar") is None:
        raise HudError(
            "hud platform needs packages that are not installed here", hint="pip install 'hud-cli[platform]'"
        )


def existing_folder(data: str) -> DataFolder:
    """Give a platform's data folder.

    Raises:
        NotFoundError: there is none.
    """
    from hud_platform.storage.data_folder import DataFolder

    root = Path(data).expanduser().absolute()
    if not root.is_dir():
        raise NotFoundError(f"no platform has its data in {root}", hint="hud platform up")
    return DataFolder(root=root)


def local_config(folder: DataFolder) -> PlatformConfig:
    """Give how a platform is opened beside its server: where its records and blobs are, by the environment or its note.

    Raises:
        HudError: the note cannot be read.
    """
    import os

    from hud_platform.config import PlatformConfig
    from hud_platform.storage.places import completed

    variables = (os.environ.get(f"HUD_PLATFORM_{name}_URL") or None for name in ("DATABASE", "BLOBS"))
    database_url, blobs_url = variables
    return completed(PlatformConfig(data=folder.root, database_url=database_url, blobs_url=blobs_url), folder)


def running(folder: DataFolder) -> ServerInfo | None:
    """Give the server that has this folder now, or None.

    Its lock is the proof: it goes with the process, where a file with a process id may outlive it.
    """
    from hud_platform.server_info import ServerInfo, read
    from hud_platform.storage.data_folder import holder

    pid = holder(folder)
    if pid is None:
        return None
    said = read(folder)
    if said is not None and said.pid == pid:
        return said
    return ServerInfo(url="", pid=pid, data=str(folder.root), version="")  # it starts or ends, or its file is damaged
