"""Unpack an archive that somebody sent, into an empty folder and nowhere else (PA-17).

The archives of public clients hold files, folders, links and sometimes hard links, by relative names. All else is
refused by name. No link is made before every file is written, so that no member can be written through one.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from hud.context.links import leading_out
from hud.context.tree import (
    DIRECTORY_MODE,
    EXECUTABLE_MODE,
    FILE_MODE,
    LONGEST_NAME_BYTES,
    LONGEST_PATH_BYTES,
    MOST_ENTRIES,
)
from hud.errors import UsageError

__all__ = ["extract"]

_COPY_BYTES = 1 << 20
_HINT = "hud deploy packs a context that fits; or leave the file out in .dockerignore"


def extract(archive: Path, folder: Path, *, limit_bytes: int, going_on: Callable[[], None] = lambda: None) -> None:
    """Unpack a gzip tar archive into an empty folder.

    Args:
        limit_bytes: The most that its files may hold together, unpacked.
        going_on: Called between members; what it raises ends the work.

    Raises:
        UsageError: the archive cannot be read, or has a member that does not belong into a folder; named.
        OSError: the disk is full.
    """
    unpacking = _Unpacking(folder, limit_bytes)
    try:
        # A stream, and the members are not kept: a header that lies about its size cannot make this seek or remember.
        with tarfile.open(archive, "r|gz", errorlevel=2) as tar:
            for member in tar:
                going_on()
                unpacking.add(tar, member)
                tar.members = []  # type: ignore[attr-defined]
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError, OverflowError) as error:
        raise UsageError(
            f"the context archive cannot be read: {error}", hint="send it again: it is cut off, or no gzip tar archive"
        ) from error
    unpacking.make_links()


class _Unpacking:
    """One archive under way."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._left = limit_bytes
        self._kinds: dict[str, str] = {}  # by path: file, folder or link; folders also when only implied
        self._links: dict[str, str] = {}
        self._count = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._count += 1
        if self._count > MOST_ENTRIES:
            raise UsageError(f"the context archive has more than {MOST_ENTRIES:,} members", hint=_HINT)
        path = _checked(member.name)
        if not path:  # the root itself
            return
        if member.isdir():
            self._add_folder(path)
            return
        self._take(path, "link" if member.issym() else "file")
        if member.issym():
            self._links[path] = member.linkname
        elif member.islnk():
            self._copy(path, member)
        elif member.isfile():
            content = tar.extractfile(member)
            assert content is not None  # of a file there is one
            with content:
                self._write(path, content, member)  # type: ignore[arg-type]
        else:
            raise UsageError(f"the context archive holds {member.name!r}, which is no file, folder or link", hint=_HINT)

    def make_links(self) -> None:
        out = leading_out(self._links)
        if out is not None:
            raise UsageError(
                f"the link {out!r} of the context archive leads out of it: {self._links[out]!r}", hint=_HINT
            )
        for path, target in self._links.items():
            if not target or "\0" in target or len(os.fsencode(target)) >= LONGEST_PATH_BYTES:
                raise UsageError(f"the link {path!r} of the context archive has no target", hint=_HINT)
            os.symlink(target, self._folder / path)

    def _add_folder(self, path: str) -> None:
        if self._kinds.get(path) == "folder":
            return
        self._take(path, "folder")
        (self._folder / path).mkdir()
        os.chmod(self._folder / path, DIRECTORY_MODE)

    def _take(self, path: str, kind: str) -> None:
        """Claim a path, with its folders."""
        if path in self._kinds:
            raise UsageError(f"the context archive holds {path!r} twice", hint=_HINT)
        parent = path.rpartition("/")[0]
        if parent and self._kinds.get(parent) != "folder":
            if parent in self._kinds:
                raise UsageError(f"the context archive holds {path!r} below {parent!r}, which is no folder", hint=_HINT)
            self._add_folder(parent)
        self._kinds[path] = kind

    def _write(self, path: str, content: BinaryIO, member: tarfile.TarInfo) -> None:
        if member.size > self._left:
            raise UsageError(
                f"the context archive holds more than {self._limit} bytes, at {path!r}",
                hint="leave large files out in .dockerignore, or raise HUD_PLATFORM_UPLOAD_LIMIT_BYTES",
            )
        self._left -= member.size
        mode = EXECUTABLE_MODE if member.mode & 0o111 else FILE_MODE
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self._folder / path, flags, mode), "wb") as target:
            while part := content.read(_COPY_BYTES):
                target.write(part)
            os.fchmod(target.fileno(), mode)
        time_s = min(max(member.mtime, 0), 2**33)
        os.utime(self._folder / path, (time_s, time_s))

    def _copy(self, path: str, member: tarfile.TarInfo) -> None:
        """Make a hard link's file: a copy, so that nothing of the archive shares anything."""
        source = _checked(member.linkname)
        if self._kinds.get(source) != "file" or source == path:
            raise UsageError(
                f"{member.name!r} of the context archive is a hard link to {member.linkname!r}, which is no file of it",
                hint=_HINT,
            )
        with (self._folder / source).open("rb") as content:
            facts = os.fstat(content.fileno())
            member.size, member.mode = facts.st_size, facts.st_mode
            self._write(path, content, member)


def _checked(name: str) -> str:
    """Give a member's path in its plain form; empty for the root.

    Raises:
        UsageError: it is absolute, climbs, or cannot be a path.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise UsageError(f"the context archive holds {name!r}, which leads out of it", hint=_HINT)
    path = "/".join(parts)
    try:
        too_long = len(path.encode()) > LONGEST_PATH_BYTES or any(
            len(part.encode()) > LONGEST_NAME_BYTES for part in parts
        )
    except UnicodeEncodeError:
        raise UsageError(f"the context archive holds a name that is not UTF-8: {name!r}", hint=_HINT) from None
    if too_long or "\0" in path:
        raise UsageError(f"the context archive holds a name that no disk takes: {name[:60]!r}", hint=_HINT)
    return path
