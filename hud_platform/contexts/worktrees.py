"""The folder that `docker build` reads, one for each environment, kept up to date in place.

BuildKit takes over only the files whose size or time changed since the last build, so files that stay the same are
not touched, and those that are written get a time which no file had before. What the folder holds is written down
beside it once it is complete; a folder without that note, because the server was killed meanwhile, is made anew.
Builds of one environment take turns, so nobody reads while this writes.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from hud import files
from hud.context import manifest as manifests
from hud.context.manifest import Directory, File, Manifest, Symlink
from hud.errors import HudError, NotFoundError, UsageError
from hud_platform.contexts import archives, contexts
from hud_platform.threads import Stop, in_thread

if TYPE_CHECKING:
    from hud_platform.backend import Backend
    from hud_platform.contexts.blobs import BlobStore

__all__ = ["from_archive", "from_context", "update"]

_TREE, _NOTE, _OLD = "tree", "complete", "old"
_FROM_BUCKET_AT_ONCE = 16
_NOT_AS_NOTED = frozenset({errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ELOOP})
"""What says that somebody else changed the tree."""

Item = File | Directory | Symlink


async def from_context(backend: Backend, environment_id: UUID, digest: str) -> Path:
    """Give an environment's folder with the files of a context.

    Raises:
        NotFoundError: the context is not known.
        HudError: a chunk of it is gone, or the disk is full.
    """
    manifest = await contexts.manifest(backend, digest)
    place = backend.data.contexts / str(environment_id)
    return await in_thread(lambda stop: update(place, manifest, backend.blobs, stop))


async def from_archive(backend: Backend, environment_id: UUID, build_id: UUID) -> Path:
    """Give an environment's folder with the files of the archive that was uploaded for a build.

    Raises:
        NotFoundError: the archive is gone.
        UsageError: it cannot be read, or has a member that does not belong into a folder (PA-17).
        HudError: the disk is full.
    """
    place = backend.data.contexts / str(environment_id)
    archive = backend.data.uploads / f"{build_id}.tar.gz"

    def work(stop: Stop) -> Path:
        if not archive.is_file():
            raise NotFoundError(f"the context archive of build {build_id} is gone", hint="hud deploy sends it again")
        with _said_clearly():
            tree = _emptied(place)
            archives.extract(archive, tree, limit_bytes=backend.config.upload_limit_bytes, going_on=stop.check)
        return tree

    return await in_thread(work)


def update(place: Path, wanted: Manifest, blobs: BlobStore, stop: Stop | None = None) -> Path:
    """Make the folder below `place` hold exactly what a manifest lists, and give it; blocking.

    Raises:
        HudError: a chunk is gone, or the disk is full.
        GivenUp: `stop` says so; the next call makes the folder anew.
    """
    stop = stop or Stop()
    with _said_clearly():
        known = _read_note(place)
        if known is not None and known.digest == wanted.digest:
            return place / _TREE
        if known is None:
            return _made_anew(place, wanted, blobs, stop)
        try:
            return _brought_up(place, known, wanted, blobs, stop)
        except OSError as error:
            if error.errno not in _NOT_AS_NOTED:
                raise
            return _made_anew(place, wanted, blobs, stop)


def _made_anew(place: Path, wanted: Manifest, blobs: BlobStore, stop: Stop) -> Path:
    tree = _emptied(place)
    _write(tree, wanted.entries, blobs, stop)
    files.replace(place / _NOTE, wanted.encode(), mode=0o600)
    return tree


def _brought_up(place: Path, known: Manifest, wanted: Manifest, blobs: BlobStore, stop: Stop) -> Path:
    tree = place / _TREE
    (place / _NOTE).unlink()
    there = {entry.path: entry for entry in known.entries}
    changed = [entry for entry in wanted.entries if there.get(entry.path) != entry]
    _remove(tree, _outdated(there, wanted.entries, changed))
    _write(tree, changed, blobs, stop)
    files.replace(place / _NOTE, wanted.encode(), mode=0o600)
    return tree


def _read_note(place: Path) -> Manifest | None:
    """Give what the tree holds, None when that is not certain."""
    try:
        return manifests.decode((place / _NOTE).read_bytes()) if (place / _TREE).is_dir() else None
    except (FileNotFoundError, UsageError):
        return None


def _emptied(place: Path) -> Path:
    """Give an empty tree below `place`, whatever is there."""
    (place / _NOTE).unlink(missing_ok=True)
    tree, old = place / _TREE, place / _OLD
    shutil.rmtree(old, ignore_errors=True)
    if tree.exists():
        # Under another name at once: removing takes time, and what a killed server left of it is nobody's tree.
        tree.rename(old)
        shutil.rmtree(old)
    tree.mkdir(mode=0o700, parents=True)
    return tree


def _outdated(there: Mapping[str, Item], wanted: Iterable[Item], changed: Iterable[Item]) -> list[Item]:
    """Give what has to go, the content of a folder before the folder itself."""
    gone = there.keys() - {entry.path for entry in wanted}
    gone |= there.keys() & {entry.path for entry in changed}
    return [there[path] for path in sorted(gone, reverse=True)]


def _remove(tree: Path, entries: Iterable[Item]) -> None:
    for entry in entries:
        path = tree / entry.path
        if type(entry) is Directory:
            path.rmdir()
        else:
            path.unlink()


def _write(tree: Path, entries: Iterable[Item], blobs: BlobStore, stop: Stop) -> None:
    """Make entries of which there is nothing; links come last, so that nothing can be written through one."""
    wanted: list[File] = []
    links: list[Symlink] = []
    for entry in entries:  # in the order of their paths: a folder stands before what is in it
        if type(entry) is Directory:
            os.mkdir(tree / entry.path)
            os.chmod(tree / entry.path, entry.mode)
        elif type(entry) is File:
            wanted.append(entry)
        elif type(entry) is Symlink:
            links.append(entry)
    # One time for all: `make` takes files of one age for up to date, as it should those that came together.
    time_ns = time.time_ns()

    def write(file: File) -> None:
        stop.check()
        _write_file(f"{tree}/{file.path}", file, time_ns, blobs)

    if blobs.is_remote:
        with ThreadPoolExecutor(_FROM_BUCKET_AT_ONCE, thread_name_prefix="hud-tree") as threads:
            list(threads.map(write, wanted))
    else:
        for file in wanted:
            write(file)
    for link in links:
        os.symlink(link.target, tree / link.path)


def _write_file(path: str, file: File, time_ns: int, blobs: BlobStore) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, file.mode)
    try:
        left = file.size
        for digest in file.chunks:
            size = min(left, manifests.CHUNK_BYTES)
            blobs.copy(digest, size, descriptor)
            left -= size
        os.fchmod(descriptor, file.mode)  # whatever the umask says
        os.utime(descriptor, ns=(time_ns, time_ns))
    finally:
        os.close(descriptor)


@contextmanager
def _said_clearly() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HudError(
                "the platform's disk is full", hint="hud platform gc removes what nothing needs any more"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise HudError(
                f"a path of the context is too long for the platform's disk: {str(error.filename)[-80:]!r}",
                hint="shorten it, or leave it out with .dockerignore",
            ) from error
        raise
