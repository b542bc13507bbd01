"""The data folder: where everything is in it, who may read it, and that one server at a time has it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hud.errors import HudError

__all__ = ["DataFolder", "FolderInUse", "holder", "lock", "open_folder", "refuse_half_restored"]


class FolderInUse(HudError):
    """Another process has the data folder.

    Attributes:
        pid: The process that has it, or None when it does not say.
    """

    def __init__(self, message: str, *, pid: int | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.pid = pid


@dataclass(frozen=True, kw_only=True)
class DataFolder:
    """The places in a data folder; `open_folder` makes them."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "platform.sqlite"

    @property
    def workflows(self) -> Path:
        """The database of the durable workflows."""
        return self.root / "dbos.sqlite"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def builds(self) -> Path:
        """A folder a build, by its id."""
        return self.root / "builds"

    @property
    def contexts(self) -> Path:
        """A work tree an environment, by its id."""
        return self.root / "contexts"

    @property
    def uploads(self) -> Path:
        """An archive a build, `<build id>.tar.gz`."""
        return self.root / "uploads"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def encryption_key(self) -> Path:
        return self.keys / "encryption.key"

    @property
    def admin_key(self) -> Path:
        """The key that the first start made, for the commands of this machine."""
        return self.keys / "admin.key"

    @property
    def server(self) -> Path:
        """What a running server says of itself; there while it is ready."""
        return self.root / "server.json"

    @property
    def places(self) -> Path:
        """Where what is not in this folder is kept (`hud_platform.storage.places`)."""
        return self.root / "places.json"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def restoring(self) -> Path:
        """There while a backup is put back: what the folder holds meanwhile is neither the old nor the new."""
        return self.root / "restoring"

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.blobs, self.builds, self.contexts, self.uploads, self.keys)


def open_folder(path: Path) -> DataFolder:
    """Make a data folder, readable by its owner alone, or take the one that is there.

    Raises:
        HudError: it cannot be made or written; the message names it.
    """
    folder = DataFolder(root=path.expanduser().absolute())
    try:
        for place in (folder.root, *folder.folders):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.root.chmod(0o700)
        folder.keys.chmod(0o700)
        probe = folder.root / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise HudError(
            f"the data folder {error.filename or folder.root} cannot be written: {error.strerror}",
            hint=_mending(error),
        ) from error
    return folder


@contextmanager
def lock(folder: DataFolder) -> Iterator[None]:
    """Have the folder alone; the lock goes with the process, however it ends.

    Raises:
        FolderInUse: another process has it.
    """
    with folder.lock.open("a+", encoding="ascii") as file:
        if not _try(file):
            pid = _pid(file)
            raise FolderInUse(
                f"a server{f' (process {pid})' if pid else ''} has the data folder {folder.root}",
                pid=pid,
                hint="hud platform down, or --data with another folder",
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def refuse_half_restored(folder: DataFolder) -> None:
    """Refuse a folder in which a restore was cut off.

    Raises:
        HudError: it is one.
    """
    if folder.restoring.exists():
        raise HudError(
            f"a restore into {folder.root} was cut off", hint="hud platform restore FILE --force begins it again"
        )


def holder(folder: DataFolder) -> int | None:
    """Give the process that has the folder, or None; 0 for one that does not say."""
    try:
        with folder.lock.open("r", encoding="ascii") as file:
            return None if _try(file, fcntl.LOCK_SH) else _pid(file) or 0
    except OSError:
        return None


def _try(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _pid(file: IO[str]) -> int | None:
    file.seek(0)
    text = file.read(32).strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _mending(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: free some space, or choose another place with --data"
    return "choose another place with --data"
