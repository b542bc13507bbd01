"""Many chunks in one body: `<SHA-256, 64 hexadecimal digits> <length in decimal digits>\\n<bytes>`, again and again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hud.context.manifest import CHUNK_BYTES
from hud.errors import UsageError

__all__ = ["CONTENT_TYPE", "Blob", "Reader", "header", "write"]

CONTENT_TYPE = "application/vnd.hud.blobs"

_HEADER = re.compile(rb"([0-9a-f]{64}) ([1-9][0-9]*)\n")
_LONGEST_HEADER_BYTES = len(f"{'0' * 64} {CHUNK_BYTES}\n")
_HINT = "send it again; what was stored before stays"


class Blob(NamedTuple):
    """A chunk and its name."""

    digest: str
    content: bytes


def header(digest: str, size_bytes: int) -> bytes:
    """Give what stands before a chunk."""
    return f"{digest} {size_bytes}\n".encode()


def write(chunks: Iterable[Blob | tuple[str, bytes]]) -> Iterator[bytes]:
    """Give a pack in parts as large as its chunks, so that only one of them is held."""
    for digest, content in chunks:
        yield header(digest, len(content))
        yield content


class Reader:
    """Reads a pack that arrives in parts of any size, and holds at most one chunk of it.

    Attributes:
        count: How many chunks were complete so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._head = b""
        self._digest: str | None = None
        self._missing = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Blob]:
        """Take the next part and give the chunks that it completes, each verified by its digest.

        The part is taken as the result is iterated: iterate to the end before the next one.

        Raises:
            UsageError: this is no pack, or a chunk's content is not the one that its digest names.
        """
        at = 0
        while at < len(data):
            if self._digest is None:
                at = self._read_head(data, at)
                continue
            part = data[at : at + self._missing]
            at += len(part)
            self._missing -= len(part)
            self._parts.append(part)
            if not self._missing:
                yield self._complete(self._digest)

    def finish(self) -> None:
        """Say that there are no more parts.

        Raises:
            UsageError: the pack ends inside a chunk.
        """
        if self._digest is not None:
            raise UsageError(f"the pack ends {self._missing} bytes before the end of chunk {self._digest}", hint=_HINT)
        if self._head:
            raise UsageError(f"the pack ends inside the header of its chunk number {self.count + 1}", hint=_HINT)

    def _read_head(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at, at + _LONGEST_HEADER_BYTES - len(self._head))
        self._head += data[at : end + 1] if end >= 0 else data[at : at + _LONGEST_HEADER_BYTES - len(self._head)]
        if end < 0 and len(self._head) < _LONGEST_HEADER_BYTES:
            return len(data)
        match = _HEADER.fullmatch(self._head)
        if match is None:
            raise UsageError(
                f"chunk number {self.count + 1} of the pack has no header: {self._head[:80]!r}", hint=_HINT
            )
        size = int(match[2])
        if size > CHUNK_BYTES:
            raise UsageError(f"chunk number {self.count + 1} has {size} bytes; at most {CHUNK_BYTES}", hint=_HINT)
        self._head, self._digest, self._missing = b"", match[1].decode(), size
        return end + 1

    def _complete(self, digest: str) -> Blob:
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._digest = [], None
        if hashlib.sha256(content).hexdigest() != digest:
            raise UsageError(f"the content of chunk {digest} has another digest", hint=_HINT)
        self.count += 1
        return Blob(digest, content)
