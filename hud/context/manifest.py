"""The list of a build's files with the digests of their contents, and how it travels.

Canonical JSON: UTF-8, compact, keys sorted, entries in the order of their paths. A context is named by the SHA-256 of
those bytes. `decode` believes nothing: what it returns can be written into an empty folder without a further look.

Source: rules PA-17 and PA-37; the form is an extension of this project's own platform.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property, lru_cache
from typing import NoReturn

import msgspec

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

__all__ = ["CHUNK_BYTES", "CONTENT_TYPE", "VERSION", "Directory", "File", "Manifest", "Symlink", "decode"]

CHUNK_BYTES = 8 * 2**20
CONTENT_TYPE = "application/vnd.hud.manifest+json"
VERSION = 1

_FILE_MODES = frozenset({FILE_MODE, EXECUTABLE_MODE})
_DIRECTORY_MODES = frozenset({DIRECTORY_MODE})
_MOST_FILE_BYTES = 2**53 - 1  # as large as every reader of JSON counts exactly
_DIGEST_LENGTHS = frozenset({64})
_HEXADECIMAL = b"0123456789abcdef"
_HINT = "deploy again; if it stays, the client and the platform do not fit each other"


class File(msgspec.Struct, frozen=True, tag_field="type", tag="file", forbid_unknown_fields=True, gc=False):
    """A file: its size in bytes, and the SHA-256 of each `CHUNK_BYTES` of it; an empty file has no chunk."""

    path: str
    mode: int
    size: int
    chunks: tuple[str, ...]


class Directory(msgspec.Struct, frozen=True, tag_field="type", tag="directory", forbid_unknown_fields=True, gc=False):
    """A folder."""

    path: str
    mode: int


class Symlink(msgspec.Struct, frozen=True, tag_field="type", tag="symlink", forbid_unknown_fields=True, gc=False):
    """A symbolic link that stays inside the context, though it may dangle."""

    path: str
    target: str


class Manifest(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """All files of a context; each one's folder stands before it."""

    version: int
    entries: tuple[File | Directory | Symlink, ...]

    def encode(self) -> bytes:
        """Give the canonical bytes."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return _encoder().encode(self)

    @cached_property
    def digest(self) -> str:
        """The name of the context: 64 hexadecimal digits."""
        return hashlib.sha256(self._encoded).hexdigest()

    @property
    def size_bytes(self) -> int:
        """How many bytes the files hold."""
        return sum(entry.size for entry in self.files)

    @property
    def files(self) -> list[File]:
        """The files alone, in their order."""
        return [entry for entry in self.entries if type(entry) is File]

    @cached_property
    def chunk_sizes(self) -> dict[str, int]:
        """The length in bytes of every chunk, by digest, in the order in which files need them.

        Raises:
            UsageError: what is said of a file does not hold together.
        """
        return _chunk_sizes(self.files)


def decode(content: bytes) -> Manifest:
    """Read a manifest that somebody sent.

    Raises:
        UsageError: it is not canonical, or no folder can hold what it lists: paths that are absolute, climb or appear
            twice, entries below something that is no folder, links that lead out, sizes that do not fit the chunks.
    """
    try:
        manifest = _decoder().decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the manifest cannot be read: {error}", hint=_HINT) from error
    if manifest.version != VERSION:
        _refuse(f"manifests of version {manifest.version} are not known here, only {VERSION}")
    if len(manifest.entries) > MOST_ENTRIES:
        _refuse(f"the manifest has {len(manifest.entries):,} entries; at most {MOST_ENTRIES:,}")
    _check_paths([entry.path for entry in manifest.entries])
    _check_tree(manifest.entries)
    _check_links({entry.path: entry.target for entry in manifest.entries if type(entry) is Symlink})
    _check_digests(manifest.chunk_sizes)
    if manifest.encode() != content:
        _refuse("the manifest is not in its canonical form")
    return manifest


@lru_cache(maxsize=1)
def _encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder(order="sorted")


@lru_cache(maxsize=1)
def _decoder() -> msgspec.json.Decoder[Manifest]:
    return msgspec.json.Decoder(Manifest)


def _refuse(message: str) -> NoReturn:
    raise UsageError(message, hint=_HINT)


def _check_paths(paths: Sequence[str]) -> None:
    """Refuse paths that lead elsewhere, out of order or twice.

    All at once first: fifty thousand calls of anything take longer than decoding the manifest.
    """
    if not paths:
        return
    if not all(map(operator.lt, paths, paths[1:])):
        after = next(second for first, second in itertools.pairwise(paths) if first >= second)
        _refuse(f"the manifest lists {after!r} twice or out of order")
    joined = "\0/" + "/\0/".join(paths) + "/\0"
    bad = joined.count("\0") != len(paths) + 1 or any(part in joined for part in ("//", "/./", "/../"))
    if bad or max(map(len, paths)) * 4 > LONGEST_NAME_BYTES:
        for path in paths:
            _check_path(path)


def _check_path(path: str) -> None:
    parts = path.split("/")
    if path.startswith("/"):
        _refuse(f"the manifest holds an absolute path: {path!r}")
    if "\0" in path or {"", ".", ".."}.intersection(parts):
        _refuse(f"the manifest holds a path that no file of a folder has: {path!r}")
    if len(path.encode()) > LONGEST_PATH_BYTES or any(len(part.encode()) > LONGEST_NAME_BYTES for part in parts):
        _refuse(f"the manifest holds a path that is too long for a disk: {path[:60]!r}…")


def _check_tree(entries: Iterable[File | Directory | Symlink]) -> None:
    folders = {"", *(entry.path for entry in entries if type(entry) is Directory)}
    if not all(entry.path.rpartition("/")[0] in folders for entry in entries):
        path = next(entry.path for entry in entries if entry.path.rpartition("/")[0] not in folders)
        _refuse(f"the manifest lists {path!r}, but nothing says that {path.rpartition('/')[0]!r} is a folder")
    for entry in entries:
        if type(entry) is Directory and entry.mode not in _DIRECTORY_MODES:
            _refuse(f"the folder {entry.path!r} has the mode {entry.mode:o}; all have {DIRECTORY_MODE:o}")


def _chunk_sizes(files: Iterable[File]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for file in files:
        size, chunks = file.size, file.chunks
        if file.mode not in _FILE_MODES:
            _refuse(f"{file.path!r} has the mode {file.mode:o}; files have {FILE_MODE:o} or {EXECUTABLE_MODE:o}")
        if not 0 <= size <= _MOST_FILE_BYTES:
            _refuse(f"{file.path!r} has the size {size}")
        if len(chunks) != -(-size // CHUNK_BYTES):
            _refuse(f"{file.path!r} has {size} bytes in {len(chunks)} chunks; a chunk is {CHUNK_BYTES} bytes")
        for digest in chunks:
            length = min(CHUNK_BYTES, size)
            size -= length
            if sizes.setdefault(digest, length) != length:
                _refuse(f"a chunk of {file.path!r} has the digest of one with another length: {digest}")
    return sizes


def _check_digests(digests: Collection[str]) -> None:
    if not _DIGEST_LENGTHS.issuperset(map(len, digests)) or "".join(digests).encode().translate(None, _HEXADECIMAL):
        wrong = next(digest for digest in digests if not re.fullmatch("[0-9a-f]{64}", digest))
        _refuse(f"the manifest names a chunk by {wrong[:80]!r}, which is no SHA-256")


def _check_links(targets: dict[str, str]) -> None:
    for path, target in targets.items():
        if not target or "\0" in target or len(target.encode()) >= LONGEST_PATH_BYTES:
            _refuse(f"the target of the link {path!r} is none: {target[:60]!r}")
    if (link := leading_out(targets)) is not None:
        _refuse(f"the link {link!r} leads out of the context: {targets[link]!r}")
