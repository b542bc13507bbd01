"""Blobs by content: chunks of files and manifests of contexts, each named by its SHA-256.

They lie in files of the data folder or in a bucket, both through obstore, whose writes appear whole or not at all.
Functions block: call them in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from hud.errors import HudError, NotFoundError, UsageError
from hud_platform.refusals import Busy

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from hud_platform.config import PlatformConfig
    from hud_platform.data_folder import DataFolder

__all__ = ["Blob", "BlobStore", "Kind", "open_blobs"]

T = TypeVar("T")
R = TypeVar("R")

Kind = Literal["chunk", "manifest"]

_FOLDERS: dict[Kind, str] = {"chunk": "sha256", "manifest": "manifests"}
_NAME = re.compile(r"[0-9a-f]{64}")
_COPY_BYTES = 1 << 20
_AT_ONCE = 32  # calls to a bucket, each of which waits for a network
_FULL = (f"os error {errno.ENOSPC}", f"os error {errno.EDQUOT}")


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob as a listing gives it."""

    digest: str
    size_bytes: int
    stored_at: datetime


class BlobStore:
    """Where blobs are; `folder` is where their files lie, when they are files of this machine."""

    def __init__(self, store: ObjectStore, *, folder: Path | None) -> None:
        self._store = store
        self._folder = folder

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Give those of some chunks that are not there, in their order, each once."""
        unique = list(dict.fromkeys(digests))
        there = self._each(self._has_chunk, unique)
        return [digest for digest, has in zip(unique, there, strict=True) if not has]

    def put(self, digest: str, content: bytes, *, kind: Kind = "chunk") -> None:
        """Store a blob; one that is there already is written again, with the same content.

        Raises:
            UsageError: the content is not what the digest names.
            Busy: the disk is full.
        """
        if hashlib.sha256(content).hexdigest() != digest:
            raise UsageError(f"the content of {digest} has another digest", hint="send it again")
        self.put_verified(digest, content, kind=kind)

    def put_verified(self, digest: str, content: bytes, *, kind: Kind = "chunk") -> None:
        """Store a blob whose content was compared with its digest already.

        Raises:
            Busy: the disk is full.
        """
        with _Translated():
            obstore.put(self._store, _key(digest, kind), content)

    def read(self, digest: str, *, kind: Kind = "chunk") -> bytes:
        """Give a blob's content.

        Raises:
            NotFoundError: it is not there.
        """
        with _Translated():
            try:
                return bytes(obstore.get(self._store, _key(digest, kind)).bytes())
            except FileNotFoundError:
                raise _gone(digest, kind) from None

    def copy(self, digest: str, target: BinaryIO) -> None:
        """Write a chunk to an open file.

        Raises:
            NotFoundError: it is not there.
            OSError: the disk is full.
        """
        file = self._file_of(digest)
        if file is None:
            target.write(self.read(digest))
            return
        try:
            source = file.open("rb", buffering=0)
        except FileNotFoundError:
            raise _gone(digest, "chunk") from None
        with source:
            shutil.copyfileobj(source, target, _COPY_BYTES)

    @property
    def is_local(self) -> bool:
        """Whether blobs are files of this machine."""
        return self._folder is not None

    def listed(self, kind: Kind) -> Iterator[Blob]:
        """Give every blob of a kind."""
        with _Translated():
            for batch in obstore.list(self._store, prefix=_FOLDERS[kind]):
                for meta in batch:
                    name = meta["path"].rpartition("/")[2]
                    if _NAME.fullmatch(name):
                        yield Blob(digest=name, size_bytes=meta["size"], stored_at=meta["last_modified"])

    def delete(self, digests: Sequence[str], *, kind: Kind = "chunk") -> None:
        """Remove blobs; one that is gone already is no error."""

        def remove(digest: str) -> None:
            try:
                obstore.delete(self._store, _key(digest, kind))
            except FileNotFoundError:
                pass

        with _Translated():
            self._each(remove, digests)

    def check(self) -> None:
        """See whether the store answers.

        Raises:
            HudError: it does not.
        """
        with _Translated():
            try:
                obstore.head(self._store, _key("0" * 64, "chunk"))
            except FileNotFoundError:
                pass

    def _has_chunk(self, digest: str) -> bool:
        if (file := self._file_of(digest)) is not None:
            return file.exists()
        with _Translated():
            try:
                obstore.head(self._store, _key(digest, "chunk"))
            except FileNotFoundError:
                return False
        return True

    def _file_of(self, digest: str) -> Path | None:
        return None if self._folder is None else self._folder / _key(digest, "chunk")

    def _each(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        if self._folder is not None:
            return [work(item) for item in items]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(work, items))


def open_blobs(config: PlatformConfig, data: DataFolder) -> BlobStore:
    """Open the store that the configuration names; a bucket takes its credentials from the environment (AWS_…).

    Raises:
        UsageError: the address is none that obstore knows.
    """
    if config.blobs_url is None:
        return BlobStore(LocalStore(prefix=data.blobs, mkdir=True), folder=data.blobs)
    try:
        return BlobStore(from_url(config.blobs_url), folder=None)
    except (BaseError, ValueError) as error:
        raise UsageError(
            f"the blobs' address {config.blobs_url!r} cannot be used: {_first_line(error)}",
            hint="such as s3://bucket/prefix, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
        ) from error


class _Translated:
    """Turns what obstore raises into this project's errors; a class, for it stands in a loop over ten thousand."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, BaseError):
            return
        if any(words in str(error) for words in _FULL):
            raise Busy(
                "the platform's disk is full", hint="free some space there, such as with hud platform gc"
            ) from error
        raise HudError(f"the blobs cannot be reached: {_first_line(error)}") from error


def _key(digest: str, kind: Kind) -> str:
    return f"{_FOLDERS[kind]}/{digest[:2]}/{digest}"


def _gone(digest: str, kind: Kind) -> NotFoundError:
    return NotFoundError(f"there is no {kind} {digest}", hint="hud deploy sends what is missing")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
