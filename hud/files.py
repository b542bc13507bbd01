"""Files that are replaced whole or not at all, and a lock for whoever reads one before writing it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hud.errors import HudError

__all__ = ["locked", "replace"]


def replace(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file beside its place and rename it there, so that a reader sees the old content or the new.

    Args:
        path: A symbolic link is followed: what it points to is replaced.
        mode: Permission bits of the file; without it, what the umask leaves of 0o666.

    Raises:
        HudError: the disk is full, or the place may not be written.
    """
    place = Path(os.path.realpath(path))
    beside = place.with_name(f".{place.name}.{os.urandom(4).hex()}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, place)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise HudError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder out, until the end.

    Where the system has no such lock (Windows, some network disks) it lets everybody in: the files are whole all the
    same, and the last writer wins.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
