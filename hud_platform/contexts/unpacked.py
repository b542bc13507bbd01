"""The content of a gzip file as `tarfile` reads it: forward only, within limits, and checked to its very end."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from hud.errors import UsageError

__all__ = ["Unpacked"]

_GZIP = 16 + zlib.MAX_WBITS
_PACKED_BYTES = 128 * 1024
_PIECE_BYTES = 2**20


class Unpacked:
    """A file to read from, with as much of the interface as `tarfile` needs.

    `gzip.open` would do, but it reads as much at once as a lying header asks for.

    Args:
        limit_bytes: The most that it gives.

    Attributes:
        last: What the last `read` gave.
    """

    def __init__(self, packed: BinaryIO, *, limit_bytes: int) -> None:
        self.last = b""
        self._packed = packed
        self._limit = limit_bytes
        self._inflate = zlib.decompressobj(_GZIP)
        self._input = b""
        self._output = memoryview(b"")
        self._at = 0
        self._allowed: int | None = None

    def read(self, size: int) -> bytes:
        """Give so many bytes, fewer at the end alone.

        Raises:
            UsageError: it is more than is allowed at the moment.
            EOFError: the file is cut off.
            zlib.error: it is no gzip file, or damaged.
        """
        if self._allowed is not None:
            self._allowed -= size
            if self._allowed < 0:
                raise UsageError("the context archive has a header that is longer than any honest one")
        parts: list[memoryview] = []
        left = size
        while left > 0 and (part := self._take(left)):
            parts.append(part)
            left -= len(part)
        self.last = b"".join(parts)
        return self.last

    def seek(self, position: int) -> None:
        """Go forward to a position.

        Raises:
            ValueError: it lies behind.
        """
        if position < self._at:
            raise ValueError("a member lies before the one that it follows")
        while self._at < position and self._take(position - self._at):
            pass

    def tell(self) -> int:
        return self._at

    def finish(self) -> None:
        """Read what is left, so that the checksum is compared; it raises what `read` does."""
        while self._take(_PIECE_BYTES):
            pass

    @contextmanager
    def reading_at_most(self, size: int) -> Iterator[None]:
        """Allow no more than so many bytes to be read; going forward is free."""
        self._allowed = size
        try:
            yield
        finally:
            self._allowed = None

    def _take(self, most: int) -> memoryview:
        if not self._output:
            self._output = memoryview(self._inflated())
        part = self._output[:most]
        self._output = self._output[most:]
        self._at += len(part)
        if self._at > self._limit:
            raise UsageError(
                f"the context archive unpacks to more than {self._limit} bytes", hint="leave large files out of it"
            )
        return part

    def _inflated(self) -> bytes:
        """Give the next piece, nothing at the end."""
        while True:
            if self._inflate.eof:
                # Another gzip member may follow, as when files were concatenated, or zeros that fill a block.
                rest = self._inflate.unused_data.lstrip(b"\0")
                while not rest:
                    if not (packed := self._packed.read(_PACKED_BYTES)):
                        return b""
                    rest = packed.lstrip(b"\0")
                self._input = rest
                self._inflate = zlib.decompressobj(_GZIP)
            packed = self._input or self._packed.read(_PACKED_BYTES)
            piece = self._inflate.decompress(packed, _PIECE_BYTES)
            self._input = self._inflate.unconsumed_tail
            if piece:
                return piece
            if not packed and not self._inflate.eof:
                raise EOFError("it ends too early")
