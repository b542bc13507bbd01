"""The contents of a build's files, in chunks named by their SHA-256."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from hud.context.manifest import CHUNK_BYTES, VERSION, Directory, File, Manifest, Symlink
from hud.context.tree import Context, Entry
from hud.errors import HudError

__all__ = ["Progress", "chunk_source", "digest", "open_file", "read_whole"]

Progress = Callable[[int, int], object]
"""Called with the bytes that are done and the bytes there are, now and then and at the end."""

_PIECE_BYTES = 2**20
_SMALL_BYTES = 2 * 2**20  # below this a file is read and hashed sooner than another thread takes it up
_THREADS = min(4, os.cpu_count() or 1)
# What comes of reading a link, a folder or a pipe that took the place of a file.
_REPLACED = frozenset({errno.ELOOP, errno.EISDIR, errno.ESPIPE, errno.EAGAIN, errno.ENXIO, errno.ENOTDIR})
_TELL_BYTES = 4 * 2**20


def digest(context: Context, progress: Progress | None = None) -> Manifest:
    """Read and hash every file of a context once, and give its manifest.

    Large files are hashed by several threads, a piece at a time: the memory is the same for any size.

    Raises:
        HudError: a file vanished, changed while it was read, or cannot be read.
    """
    total = context.size_bytes
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="hud-hash") as threads:
        large = {
            entry.path: [
                threads.submit(_hash_chunk, context, entry, offset) for offset in range(0, entry.size, CHUNK_BYTES)
            ]
            for entry in context.entries
            if entry.size > _SMALL_BYTES
        }
        try:
            entries = _entries(context, large, progress, total)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    if progress is not None:
        progress(total, total)
    return Manifest(version=VERSION, entries=tuple(entries))


def chunk_source(context: Context, manifest: Manifest) -> Callable[[str], bytes]:
    """Give a function that reads a chunk again by its digest, for the platform that lacks it.

    It raises HudError when the file changed since, and KeyError for a digest of another manifest. A large chunk is not
    hashed again, which would take as long as the first time: whoever gets it does that.
    """
    times = {entry.path: entry.mtime_ns for entry in context.entries if entry.size > _SMALL_BYTES}
    places: dict[str, tuple[str, int, int]] = {}
    for file in manifest.files:
        for number, name in enumerate(file.chunks):
            offset = number * CHUNK_BYTES
            places.setdefault(name, (file.path, offset, min(CHUNK_BYTES, file.size - offset)))

    def read(name: str) -> bytes:
        path, offset, size = places[name]
        descriptor = open_file(context, path)
        try:
            content = _read_fully(descriptor, path, size, offset)
            mtime_ns = os.fstat(descriptor).st_mtime_ns
        finally:
            os.close(descriptor)
        is_same = mtime_ns == times[path] if size > _SMALL_BYTES else hashlib.sha256(content).hexdigest() == name
        if not is_same:
            raise _changed(path)
        return content

    return read


def open_file(context: Context, path: str) -> int:
    """Open a file of a context for reading.

    Raises:
        HudError: it vanished, became something else, or cannot be read.
    """
    try:
        # O_NONBLOCK: a named pipe that took the file's place would wait for a writer for ever.
        return os.open(f"{context.root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_whole(context: Context, entry: Entry) -> bytes:
    """Give the content of a file that has the size it had.

    Raises:
        HudError: it vanished, changed since it was found, or cannot be read.
    """
    descriptor = open_file(context, entry.path)
    try:
        # One byte more than there should be: a regular file gives fewer bytes than asked for at its end alone.
        content = os.read(descriptor, entry.size + 1)
    except OSError as error:
        raise _unreadable(entry.path, error) from error
    finally:
        os.close(descriptor)
    if len(content) != entry.size:
        raise _changed(entry.path)
    return content


def _entries(
    context: Context, large: dict[str, list[Future[str]]], progress: Progress | None, total: int
) -> list[File | Directory | Symlink]:
    entries: list[File | Directory | Symlink] = []
    done = told = 0
    for entry in context.entries:
        if entry.type == "directory":
            entries.append(Directory(entry.path, entry.mode))
        elif entry.type == "symlink":
            entries.append(Symlink(entry.path, entry.target))
        elif entry.size > _SMALL_BYTES:
            chunks: list[str] = []
            for future in large[entry.path]:
                chunks.append(future.result())
                if progress is not None:
                    progress(done + min(len(chunks) * CHUNK_BYTES, entry.size), total)
            done += entry.size
            entries.append(File(entry.path, entry.mode, entry.size, tuple(chunks)))
        else:
            content = read_whole(context, entry)
            chunks = [hashlib.sha256(content).hexdigest()] if content else []
            entries.append(File(entry.path, entry.mode, entry.size, tuple(chunks)))
            done += entry.size
        if progress is not None and done - told >= _TELL_BYTES:
            told = done
            progress(done, total)
    return entries


def _hash_chunk(context: Context, entry: Entry, offset: int) -> str:
    size = min(CHUNK_BYTES, entry.size - offset)
    hashed = hashlib.sha256()
    descriptor = open_file(context, entry.path)
    try:
        piece = memoryview(bytearray(min(_PIECE_BYTES, size)))
        at = offset
        while at < offset + size:
            read = os.preadv(descriptor, [piece[: offset + size - at]], at)
            if not read:
                raise _changed(entry.path)
            hashed.update(piece[:read])
            at += read
        found = os.fstat(descriptor)
    except OSError as error:
        raise _unreadable(entry.path, error) from error
    finally:
        os.close(descriptor)
    if (found.st_size, found.st_mtime_ns) != (entry.size, entry.mtime_ns):
        raise _changed(entry.path)
    return hashed.hexdigest()


def _read_fully(descriptor: int, path: str, size: int, offset: int) -> bytes:
    try:
        content = os.pread(descriptor, size, offset)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) != size:
        raise _changed(path)
    return content


def _changed(path: str) -> HudError:
    return HudError(f"{path} changed while it was read", hint="run it again when nothing writes to the folder")


def _unreadable(path: str, error: OSError) -> HudError:
    if error.errno in _REPLACED:
        return _changed(path)
    if isinstance(error, FileNotFoundError):
        return HudError(f"{path} vanished while it was read", hint="run it again when nothing writes to the folder")
    return HudError(f"cannot read {path}: {error.strerror}", hint=f"if no build needs it, leave it out: {path}")
