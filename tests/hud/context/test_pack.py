"""The body of `POST /v2/blobs`: chunks one after another, read however the network cuts them."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.context import CHUNK_BYTES, pack
from hud.errors import UsageError


def blob(content: bytes) -> pack.Blob:
    return pack.Blob(hashlib.sha256(content).hexdigest(), content)


def read(*parts: bytes) -> list[pack.Blob]:
    reader = pack.Reader()
    blobs = [blob for part in parts for blob in reader.feed(part)]
    reader.finish()
    return blobs


@given(st.lists(st.binary(min_size=1, max_size=50).map(blob), max_size=6))
def test_what_is_written_is_read_again(blobs: list[pack.Blob]) -> None:
    assert read(b"".join(pack.write(blobs))) == blobs


def test_a_pack_may_be_cut_at_every_byte() -> None:
    blobs = [blob(b"one\n"), blob(b"two" * 40), blob(b"\n")]
    content = b"".join(pack.write(blobs))
    for place in range(len(content) + 1):
        assert read(content[:place], content[place:]) == blobs
    assert read(*(content[at : at + 1] for at in range(len(content)))) == blobs


def test_a_pack_that_ends_early_is_refused_at_every_byte() -> None:
    content = b"".join(pack.write([blob(b"one\n"), blob(b"two")]))
    ends = {0, len(b"".join(pack.write([blob(b"one\n")]))), len(content)}
    for place in range(len(content) + 1):
        if place in ends:
            read(content[:place])
        else:
            with pytest.raises(UsageError, match=r"^the pack ends "):
                read(content[:place])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", r"chunk number 1 of the pack has no header: b'hello\n'"),
        (b"x" * 200, f"chunk number 1 of the pack has no header: {b'x' * 73!r}"),
        (b"a" * 64 + b" 0\n", f"chunk number 1 of the pack has no header: {b'a' * 64 + b' 0' + bytes([10])!r}"),
        (b"a" * 64 + b" 01\nx", f"chunk number 1 of the pack has no header: {b'a' * 64 + b' 01' + bytes([10])!r}"),
        (b"a" * 64 + b" -1\nx", f"chunk number 1 of the pack has no header: {b'a' * 64 + b' -1' + bytes([10])!r}"),
        (b"A" * 64 + b" 1\nx", f"chunk number 1 of the pack has no header: {b'A' * 64 + b' 1' + bytes([10])!r}"),
        (b"a" * 64 + b" 8388609\n", "chunk number 1 has 8388609 bytes; at most 8388608"),
        (b"a" * 64 + b" 1\nx", f"the content of chunk {'a' * 64} has another digest"),
    ],
)
def test_what_is_no_pack_is_refused(content: bytes, message: str) -> None:
    for parts in ([content], [content[at : at + 1] for at in range(len(content))]):
        with pytest.raises(UsageError) as refused:
            read(*parts)
        assert refused.value.message == message


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_any_bytes_are_a_pack_or_a_usage_error(parts: list[bytes]) -> None:
    try:
        read(*parts)
    except UsageError:
        pass


def test_a_reader_holds_one_chunk_at_most() -> None:
    digest, content = blob(bytes(CHUNK_BYTES))
    parts = [pack.header(digest, CHUNK_BYTES), *(content[at : at + 2**16] for at in range(0, CHUNK_BYTES, 2**16))]
    reader = pack.Reader()
    tracemalloc.start()
    try:
        for part in parts * 4:
            for _ in reader.feed(part):
                pass
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.count == 4
    assert peak_bytes < 3 * CHUNK_BYTES
