"""Contents by their SHA-256: chunks of contexts, and the manifests that list them; files on disk, or a bucket.

Methods block, so call them in a thread. A blob appears whole or not at all, and never changes; one whose length is not
the expected one (a machine that lost power) counts as absent and is written again.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from hud.errors import HudError
from hud_platform.web.refusals import Busy

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from hud.context.pack import Blob
    from hud_platform.config import PlatformConfig
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["PREFIXES", "BlobStore", "Kind", "Stored", "open_blobs"]

Kind = Literal["chunks", "manifests"]

PREFIXES = tuple(f"{number:02x}" for number in range(256))
"""The first two digits of every digest, by which a store is walked through in parts."""

_FEW = 64  # so many single questions cost a bucket less than listings
_AT_ONCE = 16
_RETRY_TIMEOUT = timedelta(seconds=20)
_FULL = ("no space left on device", "quota exceeded")
_PIECE_BYTES = 2**20
_NO_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM})

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a store holds under a name, which is a digest unless a killed server left it.

    Attributes:
        stored_at_s: When it was last written or sent again, in seconds since 1970.
    """

    name: str
    size_bytes: int
    stored_at_s: float


class BlobStore:
    """The blobs of a platform.

    Args:
        folder: Where the blobs are when they are files, else None.
        lock: A folder of this machine by which the processes of a platform keep out of each other's way.
    """

    def __init__(self, store: ObjectStore, *, folder: Path | None, lock: Path) -> None:
        self._store = store
        self._folder = folder
        self._lock = lock

    def put(self, blobs: Sequence[Blob]) -> None:
        """Keep chunks whose digests were verified, as `hud.context.pack.Reader` does.

        What is there already counts as new for `sweep`.

        Raises:
            OSError: the disk is full (ENOSPC); nothing of the chunk that did not fit is left.
            Busy: the store does not answer.
        """
        with self.using():
            self._map(lambda blob: self._put("chunks", blob.digest, blob.content), blobs)

    def put_manifest(self, digest: str, content: bytes) -> None:
        """Keep the canonical bytes of a manifest, by their digest; it raises what `put` does."""
        self._put("manifests", digest, content)

    def manifest(self, digest: str) -> bytes | None:
        """Give the bytes of a manifest, None when it is not there."""
        try:
            return self._read("manifests", digest)
        except FileNotFoundError:
            return None

    def lacking(self, sizes: Mapping[str, int]) -> list[str]:
        """Give the chunks that are not there, in the order in which they are asked for.

        Args:
            sizes: The length in bytes of each chunk, by digest.
        """
        if self._folder is not None:
            root = f"{self._folder}/chunks"
            return [digest for digest, size in sizes.items() if _size_of(f"{root}/{digest[:2]}/{digest}") != size]
        if len(sizes) <= _FEW:
            found = dict(zip(sizes, self._map(self._head, sizes), strict=True))
        else:
            found = {}
            prefixes = sorted({digest[:2] for digest in sizes})
            for listed in self._map(lambda prefix: list(self.listed("chunks", prefix)), prefixes):
                found.update((stored.name, stored.size_bytes) for stored in listed)
        return [digest for digest, size in sizes.items() if found.get(digest) != size]

    def copy(self, digest: str, size_bytes: int, target: int) -> None:
        """Append a chunk to an open file.

        Raises:
            HudError: it is not there, or has another length.
        """
        try:
            if self._folder is None:
                content = self._read("chunks", digest)
                copied = len(content)
                _write(target, content)
            else:
                source = os.open(f"{self._folder}/chunks/{digest[:2]}/{digest}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    # One byte more than there should be, to notice it.
                    copied = _copy(source, target, size_bytes + 1)
                finally:
                    os.close(source)
        except FileNotFoundError:
            copied = -1
        if copied != size_bytes:
            what = "is gone" if copied < 0 else f"does not have its {size_bytes} bytes any more"
            raise HudError(f"the chunk {digest} of the context {what}", hint="hud deploy sends it again")

    @property
    def is_remote(self) -> bool:
        """Whether reading one takes a while, so that many at once are faster."""
        return self._folder is None

    def listed(self, kind: Kind, prefix: str) -> Iterator[Stored]:
        """Give what is stored below one of `PREFIXES`."""
        if self._folder is None:
            with _translated():
                for page in obstore.list(self._store, f"{kind}/{prefix}"):
                    for meta in page:
                        name = meta["path"].rpartition("/")[2]
                        time_s = meta["last_modified"].timestamp()
                        yield Stored(name=name, size_bytes=meta["size"], stored_at_s=time_s)
            return
        # Not the library's listing, which hides what a killed server left half-written.
        with suppress(FileNotFoundError), os.scandir(self._folder / kind / prefix) as items:
            for item in items:
                with suppress(FileNotFoundError):
                    found = item.stat(follow_symlinks=False)
                    yield Stored(name=item.name, size_bytes=found.st_size, stored_at_s=found.st_mtime)

    def remove(self, kind: Kind, prefix: str, names: Sequence[str]) -> None:
        """Remove what `listed` gave."""
        if self._folder is not None:
            for name in names:
                (self._folder / kind / prefix / name).unlink(missing_ok=True)
        elif names:
            with _translated():
                obstore.delete(self._store, [f"{kind}/{prefix}/{name}" for name in names])

    @contextmanager
    def using(self) -> Iterator[None]:
        """Keep `sweep` out while something is done that relies on what is stored."""
        with _locked(self._lock, fcntl.LOCK_SH):
            yield

    @contextmanager
    def sweep(self) -> Iterator[None]:
        """Be alone, to remove what nobody relies on; everybody else waits, so be quick."""
        with _locked(self._lock, fcntl.LOCK_EX):
            yield

    def _put(self, kind: Kind, digest: str, content: bytes) -> None:
        key = f"{kind}/{digest[:2]}/{digest}"
        if self._folder is not None:
            path = f"{self._folder}/{key}"
            if _size_of(path) == len(content):
                with suppress(FileNotFoundError):
                    os.utime(path)
                    return
        with _translated():
            obstore.put(self._store, key, content, use_multipart=False)

    def _read(self, kind: Kind, digest: str) -> bytes:
        key = f"{kind}/{digest[:2]}/{digest}"
        if self._folder is not None:
            return (self._folder / key).read_bytes()
        with _translated():
            return bytes(obstore.get(self._store, key).bytes())

    def _head(self, digest: str) -> int | None:
        try:
            with _translated():
                return obstore.head(self._store, f"chunks/{digest[:2]}/{digest}")["size"]
        except FileNotFoundError:
            return None

    def _map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        if self._folder is not None:
            return [work(item) for item in items]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hud-blobs") as threads:
            return list(threads.map(work, items))


def open_blobs(config: PlatformConfig, data: DataFolder) -> BlobStore:
    """Open the store of a platform: its data folder, or the bucket it was told.

    A bucket's credentials, region and endpoint come from the environment, as its own tools read them
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` …).

    Raises:
        HudError: the bucket's address cannot be understood.
    """
    if config.blobs_url is None:
        return BlobStore(LocalStore(data.blobs), folder=data.blobs, lock=data.blobs)
    try:
        store = from_url(config.blobs_url, retry_config={"max_retries": 4, "retry_timeout": _RETRY_TIMEOUT})
    except (BaseError, ValueError) as error:
        raise HudError(
            f"{config.blobs_url!r} is no place for blobs: {_first_line(error)}", hint="--blobs s3://bucket/prefix"
        ) from error
    return BlobStore(store, folder=None, lock=data.blobs)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        line = _first_line(error)
        if any(words in line.lower() for words in _FULL):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise Busy(f"the store of blobs does not answer: {line}", retry_after_s=10) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _copy(source: int, target: int, size_bytes: int) -> int:
    copied = 0
    copy_some = _in_kernel if hasattr(os, "copy_file_range") else _by_hand
    while copied < size_bytes:
        try:
            part = copy_some(source, target, size_bytes - copied)
        except OSError as error:
            if copy_some is _by_hand or error.errno not in _NO_COPY:
                raise
            copy_some = _by_hand
            continue
        copied += part
        if not part:
            break
    return copied


def _in_kernel(source: int, target: int, size_bytes: int) -> int:
    return os.copy_file_range(source, target, size_bytes)


def _by_hand(source: int, target: int, size_bytes: int) -> int:
    piece = os.read(source, min(size_bytes, _PIECE_BYTES))
    _write(target, piece)
    return len(piece)


def _write(target: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(target, left) :]
