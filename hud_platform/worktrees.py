"""The folder that `docker build` reads, one for each environment, kept up to date in place.

BuildKit takes over only the files whose size or time changed since the last build, so files that stay the same are
not touched. What the folder holds is written down beside it once it is complete; a folder without that note, because
the server was killed meanwhile, is made anew. Builds of one environment take turns, so nobody reads while this writes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from hud import files
from hud.context import manifest as manifests
from hud.context.manifest import Directory, File, Manifest, Symlink
from hud.errors import HudError, NotFoundError, UsageError
from hud_platform import archives, contexts
from hud_platform.threads import Stop, in_thread

if TYPE_CHECKING:
    from hud_platform.backend import Backend
    from hud_platform.blobs import BlobStore

__all__ = ["from_archive", "from_context", "update"]

_TREE, _NOTE = "tree", "complete"
_FROM_BUCKET_AT_ONCE = 16

Item = File | Directory | Symlink


async def from_context(backend: Backend, environment_id: UUID, digest: str) -> Path:
    """Give an environment's folder with the files of a context.

    Raises:
        NotFoundError: the context, or a chunk of it, is gone.
        HudError: the disk is full.
    """
    manifest = await contexts.load(backend, digest)
    place = backend.data.contexts / str(environment_id)
    return await in_thread(lambda stop: update(place, manifest, backend.blobs, stop))


async def from_archive(backend: Backend, environment_id: UUID, build_id: UUID) -> Path:
    """Give an environment's folder with the files of the archive that was uploaded for a build.

    Raises:
        UsageError: the archive cannot be read, or has a member that does not belong into a folder (PA-17).
        HudError: the disk is full.
    """
    place = backend.data.contexts / str(environment_id)
    archive = backend.data.uploads / f"{build_id}.tar.gz"

    def work(stop: Stop) -> Path:
        tree = _emptied(place)
        with _disk_full_said():
            archives.extract(archive, tree, limit_bytes=backend.config.upload_limit_bytes, going_on=stop.check)
        return tree

    return await in_thread(work)


def update(place: Path, wanted: Manifest, blobs: BlobStore, stop: Stop | None = None) -> Path:
    """Make the folder below `place` hold exactly what a manifest lists, and give it; blocking.

    Raises:
        NotFoundError: a chunk is gone.
        HudError: the disk is full.
        GivenUp: `stop` says so; the next call makes the folder anew.
    """
    stop = stop or Stop()
    note = place / _NOTE
    with _disk_full_said():
        known = _read_note(note)
        if known is None:
            tree, there = _emptied(place), {}
        else:
            tree, there = place / _TREE, {entry.path: entry for entry in known.entries}
        if known is not None and known.digest == wanted.digest:
            return tree
        note.unlink(missing_ok=True)
        _remove_changed(tree, there, wanted.entries)
        _write(tree, [entry for entry in wanted.entries if there.get(entry.path) != entry], blobs, stop)
        files.replace(note, wanted.encode(), mode=0o600)
    return tree


def _read_note(note: Path) -> Manifest | None:
    try:
        return manifests.decode(note.read_bytes()) if (note.parent / _TREE).is_dir() else None
    except (FileNotFoundError, UsageError):
        return None


def _emptied(place: Path) -> Path:
    """Give an empty folder below `place`."""
    (place / _NOTE).unlink(missing_ok=True)
    tree = place / _TREE
    if tree.exists():
        # A name of its own first: removing takes time, and a half-removed tree must not be taken for a whole one.
        old = place / "old"
        shutil.rmtree(old, ignore_errors=True)
        tree.rename(old)
    shutil.rmtree(place / "old", ignore_errors=True)
    tree.mkdir(mode=0o700, parents=True)
    return tree


def _remove_changed(tree: Path, there: dict[str, Item], wanted: Iterable[Item]) -> None:
    """Remove what is not wanted, or not as it is there; a folder that stays is left with what stays in it."""
    stays = {entry.path for entry in wanted if there.get(entry.path) == entry}
    for path in sorted((path for path in there if path not in stays), reverse=True):  # what is inside a folder first
        full = tree / path
        if type(there[path]) is Directory:
            full.rmdir()
        else:
            full.unlink()


def _write(tree: Path, entries: list[Item], blobs: BlobStore, stop: Stop) -> None:
    for entry in entries:  # in the order of their paths: a folder stands before what is in it
        if type(entry) is Directory:
            (tree / entry.path).mkdir()
            os.chmod(tree / entry.path, entry.mode)
        elif type(entry) is Symlink:
            os.symlink(entry.target, tree / entry.path)

    def write(file: File) -> None:
        stop.check()
        _write_file(tree / file.path, file, blobs)

    wanted = [entry for entry in entries if type(entry) is File]
    if blobs.is_local:
        for file in wanted:
            write(file)
    else:
        with ThreadPoolExecutor(_FROM_BUCKET_AT_ONCE) as pool:
            list(pool.map(write, wanted))


def _write_file(path: Path, file: File, blobs: BlobStore) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, file.mode)
    with open(descriptor, "wb", buffering=0) as target:
        for digest in file.chunks:
            blobs.copy(digest, target)
        if target.tell() != file.size:
            raise HudError(f"a stored chunk of {file.path!r} is damaged", hint="hud platform restore, or deploy anew")
        os.fchmod(descriptor, file.mode)  # whatever the umask says


@contextmanager
def _disk_full_said() -> Iterator[None]:
    try:
        yield
    except NotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HudError(
                "the platform's disk is full", hint="hud platform gc removes what nothing needs any more"
            ) from error
        raise
