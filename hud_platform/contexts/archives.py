"""Unpack an archive that somebody sent, into an empty folder and nowhere else (PA-17).

The archives of public clients hold files, folders, links and sometimes hard links, by relative names. All else is
refused by name. No link is made before every file is written, so that no member can be written through one; owners,
times and the bits beyond `rwx` are left behind. Times especially: BuildKit takes a file whose size and time it has
seen for the file that it has seen, and archives with one fixed time are common.
"""

from __future__ import annotations

import os
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar, cast

from hud.context.links import leading_out
from hud.context.tree import LONGEST_NAME_BYTES, LONGEST_PATH_BYTES, MOST_ENTRIES
from hud.errors import UsageError
from hud_platform.contexts.unpacked import Unpacked

__all__ = ["DEEPEST", "extract"]

DEEPEST = 256
"""Folders in folders; what walks through a tree, such as `shutil.rmtree`, gives up at a thousand."""

_COPY_BYTES = 2**20
_LONGEST_HEADER_BYTES = 2**20  # of one member, with all that extends it
_HEADERS_BYTES = 2**31  # of all members
_BOMB_BYTES, _BOMB_RATIO = 2**30, 200  # beyond so many bytes it may be so many times as large as its archive
_HINT = "leave it out with a line in .dockerignore"
_SEND_AGAIN = "deploy again: it was cut off or changed on its way, or it is no gzip tar archive"
_UNREADABLE = (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, LookupError, RecursionError)
"""What `tarfile` says of bytes that are no archive: a header can be made to say most things."""

_T = TypeVar("_T")


def extract(archive: Path, folder: Path, *, limit_bytes: int, going_on: Callable[[], None] = lambda: None) -> None:
    """Unpack a gzip tar archive into an empty folder.

    Args:
        limit_bytes: The most that its files may hold together, unpacked.
        going_on: Called between members and in long ones; what it raises ends the work.

    Raises:
        UsageError: the archive cannot be read, or has a member that does not belong into a folder; named.
        OSError: the disk is full.
    """
    most = min(limit_bytes, max(_BOMB_BYTES, _BOMB_RATIO * archive.stat().st_size))
    unpacking = _Unpacking(folder, most, going_on)
    with archive.open("rb") as packed:
        unpacked = Unpacked(packed, limit_bytes=most + _HEADERS_BYTES)
        with unpacked.reading_at_most(_LONGEST_HEADER_BYTES):
            tar = _read(lambda: tarfile.TarFile(fileobj=cast("IO[bytes]", unpacked), encoding="utf-8"))
        while True:
            going_on()
            with unpacked.reading_at_most(_LONGEST_HEADER_BYTES):
                member = _read(tar.next)
            if member is None:
                break
            tar.members = []  # type: ignore[attr-defined]  # it would keep a million of them
            unpacking.add(tar, member)
        if any(unpacked.last):  # `tarfile` takes a damaged header for the end
            raise UsageError("the context archive has a damaged header", hint=_SEND_AGAIN)
        _read(unpacked.finish)
    unpacking.make_links()


def _read(read: Callable[[], _T]) -> _T:
    try:
        return read()
    except UsageError:
        raise
    except _UNREADABLE as error:
        raise UsageError(f"the context archive cannot be read: {error}", hint=_SEND_AGAIN) from error


class _Unpacking:
    """One archive under way: what it made so far, by path."""

    def __init__(self, folder: Path, limit_bytes: int, going_on: Callable[[], None]) -> None:
        self._folder = folder
        self._limit = self._left = limit_bytes
        self._going_on = going_on
        self._kinds: dict[str, str] = {}  # file, folder or link; folders also when only implied
        self._links: dict[str, str] = {}
        self._time_ns = time.time_ns()  # one for all, as `make` has it

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _checked(member.name)
        if member.isdir():
            if path:
                self._add_folder(path, member.mode)
        elif not path:
            raise UsageError(f"the context archive holds {member.name!r}, which names nothing", hint=_HINT)
        elif member.issym():
            self._claim(path, "link")
            self._links[path] = member.linkname
        elif member.islnk():
            self._claim(path, "file")
            self._copy(path, member)
        elif member.isfile():
            self._claim(path, "file")
            # Also a sparse one, whose holes are read as zeros.
            with _read(lambda: tar.extractfile(member)) as content:  # type: ignore[union-attr]
                self._write(path, content, member.size, member.mode)
        else:
            raise UsageError(f"the context archive holds {member.name!r}, which is no file, folder or link", hint=_HINT)

    def make_links(self) -> None:
        for path, target in self._links.items():
            if not target or "\0" in target or len(os.fsencode(target)) >= LONGEST_PATH_BYTES:
                raise UsageError(f"the link {path!r} of the context archive has no target that can be", hint=_HINT)
        out = leading_out(self._links)
        if out is not None:
            raise UsageError(
                f"the link {out!r} of the context archive leads out of it, to {self._links[out]!r}", hint=_HINT
            )
        for path, target in self._links.items():
            os.symlink(target, self._folder / path)

    def _add_folder(self, path: str, mode: int) -> None:
        if self._kinds.get(path) != "folder":
            self._claim(path, "folder")
            (self._folder / path).mkdir()
        (self._folder / path).chmod(mode & 0o777 | 0o700)

    def _claim(self, path: str, kind: str) -> None:
        """Note what a path will be, and make the folders that it lies in."""
        if path in self._kinds:
            raise UsageError(f"the context archive holds {path!r} twice", hint=_SEND_AGAIN)
        parents: list[str] = []
        parent = path.rpartition("/")[0]
        while parent and self._kinds.get(parent) != "folder":
            if parent in self._kinds:
                raise UsageError(f"the context archive holds {path!r} below {parent!r}, which is no folder", hint=_HINT)
            parents.append(parent)
            parent = parent.rpartition("/")[0]
        for parent in reversed(parents):
            (self._folder / parent).mkdir()
            (self._folder / parent).chmod(0o755)
            self._kinds[parent] = "folder"
        self._kinds[path] = kind
        if len(self._kinds) > MOST_ENTRIES:
            raise UsageError(f"the context archive has more than {MOST_ENTRIES:,} members", hint=_HINT)

    def _write(self, path: str, content: IO[bytes], size_bytes: int, mode: int) -> None:
        if size_bytes > self._left:
            raise UsageError(
                f"the context archive holds more than {self._limit} bytes unpacked, at {path!r}",
                hint="leave large files out with .dockerignore",
            )
        self._left -= size_bytes
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self._folder / path, flags, 0o600), "wb", buffering=0) as target:
            while part := _read(lambda: content.read(_COPY_BYTES)):
                self._going_on()
                target.write(part)
            if target.tell() != size_bytes:
                raise UsageError(f"the context archive is cut off in {path!r}", hint=_SEND_AGAIN)
            os.fchmod(target.fileno(), mode & 0o777 | 0o400)
            os.utime(target.fileno(), ns=(self._time_ns, self._time_ns))

    def _copy(self, path: str, member: tarfile.TarInfo) -> None:
        """Make the file of a hard link: a copy, so that nothing is shared."""
        source = _checked(member.linkname)
        if source == path or self._kinds.get(source) != "file":
            raise UsageError(
                f"{member.name!r} of the context archive is a hard link to {member.linkname!r}, which is no file of it",
                hint=_HINT,
            )
        with (self._folder / source).open("rb") as content:
            found = os.fstat(content.fileno())
            self._write(path, content, found.st_size, found.st_mode)


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
        is_too_long = len(path.encode()) > LONGEST_PATH_BYTES or any(
            len(part.encode()) > LONGEST_NAME_BYTES for part in parts
        )
    except UnicodeEncodeError:
        raise UsageError(f"the context archive holds a name that is not UTF-8: {name!r}", hint=_HINT) from None
    if is_too_long or len(parts) > DEEPEST or "\0" in path:
        raise UsageError(f"the context archive holds a name that no disk takes: {name[:60]!r}", hint=_HINT)
    return path
