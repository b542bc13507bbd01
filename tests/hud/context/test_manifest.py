"""The manifest of a context: one form for one content, and nothing hostile gets through (PA-17)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.context import manifest
from hud.context.manifest import CHUNK_BYTES, Directory, File, Manifest, Symlink
from hud.errors import UsageError

A, B = "a" * 64, "b" * 64
_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
_digests = st.binary(min_size=4, max_size=4).map(lambda seed: hashlib.sha256(seed).hexdigest())


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    entries: dict[str, File | Directory | Symlink] = {}
    for parts in draw(st.lists(st.lists(_names, min_size=1, max_size=4), max_size=12)):
        parents = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        path = "/".join(parts)
        if path in entries or any(not isinstance(entries.get(one, Directory("", 0)), Directory) for one in parents):
            continue
        entries |= {one: Directory(one, 0o755) for one in parents}
        if draw(st.booleans()):
            entries[path] = Symlink(path, draw(_names))
            continue
        size = draw(st.sampled_from([0, 1, 100, CHUNK_BYTES, CHUNK_BYTES + 1]))
        lengths = [min(CHUNK_BYTES, size - at) for at in range(0, size, CHUNK_BYTES)]
        chunks = tuple(hashlib.sha256(f"{draw(_digests)}{length}".encode()).hexdigest() for length in lengths)
        entries[path] = File(path, draw(st.sampled_from([0o644, 0o755])), size, chunks)
    return Manifest(1, tuple(entries[path] for path in sorted(entries)))


@given(manifests())
def test_what_is_encoded_is_decoded_again(value: Manifest) -> None:
    assert manifest.decode(value.encode()) == value


@given(manifests())
def test_the_form_is_compact_json_with_sorted_keys(value: Manifest) -> None:
    document = json.loads(value.encode())
    assert json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == value.encode()
    paths = [entry["path"].encode() for entry in document["entries"]]
    assert paths == sorted(paths)
    assert value.digest == hashlib.sha256(value.encode()).hexdigest()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_a_usage_error(content: bytes) -> None:
    try:
        manifest.decode(content)
    except UsageError:
        pass


@given(manifests(), st.data())
def test_a_cut_or_changed_manifest_is_refused_or_another_canonical_one(value: Manifest, data: st.DataObject) -> None:
    content = bytearray(value.encode())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    for damaged in (bytes(content), bytes(content[:place])):
        try:
            assert manifest.decode(damaged).encode() == damaged
        except UsageError:
            pass


def encoded(*entries: dict[str, Any], version: int = 1) -> bytes:
    document = {"entries": list(entries), "version": version}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def file(path: str, **fields: Any) -> dict[str, Any]:
    return {"path": path, "type": "file", "mode": 0o644, "size": 1, "chunks": [A], **fields}


def folder(path: str, **fields: Any) -> dict[str, Any]:
    return {"path": path, "type": "directory", "mode": 0o755, **fields}


def link(path: str, target: str) -> dict[str, Any]:
    return {"path": path, "type": "symlink", "target": target}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(file("/etc/passwd")), "the manifest holds an absolute path: '/etc/passwd'"),
        (encoded(folder(".."), file("../x")), "the manifest holds a path that no file of a folder has: '..'"),
        (encoded(folder("a"), file("a/../x")), "the manifest holds a path that no file of a folder has: 'a/../x'"),
        (encoded(file("./x")), "the manifest holds a path that no file of a folder has: './x'"),
        (encoded(folder("a"), file("a//x")), "the manifest holds a path that no file of a folder has: 'a//x'"),
        (encoded(file("a/")), "the manifest holds a path that no file of a folder has: 'a/'"),
        (encoded(file("")), "the manifest holds a path that no file of a folder has: ''"),
        (encoded(file("a\0b")), r"the manifest holds a path that no file of a folder has: 'a\x00b'"),
        (encoded(file("x" * 256)), f"the manifest holds a path that is too long for a disk: {'x' * 60!r}…"),
        (encoded(file("a"), file("a")), "the manifest lists 'a' twice or out of order"),
        (encoded(file("b"), file("a")), "the manifest lists 'a' twice or out of order"),
        (encoded(file("a"), file("a/b")), "the manifest lists 'a/b', but nothing says that 'a' is a folder"),
        (encoded(link("a", "b"), file("a/b")), "the manifest lists 'a/b', but nothing says that 'a' is a folder"),
        (encoded(file("a/b")), "the manifest lists 'a/b', but nothing says that 'a' is a folder"),
        (encoded(link("a", "/etc")), "the link 'a' leads out of the context: '/etc'"),
        (encoded(link("a", "../x")), "the link 'a' leads out of the context: '../x'"),
        (
            encoded(folder("a"), link("a/up", ".."), link("b", "a/up/../x")),
            "the link 'b' leads out of the context: 'a/up/../x'",
        ),
        (encoded(link("a", "")), "the target of the link 'a' is none: ''"),
        (encoded(link("a", "b\0c")), r"the target of the link 'a' is none: 'b\x00c'"),
        (encoded(file("a", mode=0o4755)), "'a' has the mode 4755; files have 644 or 755"),
        (encoded(folder("a", mode=0o777)), "the folder 'a' has the mode 777; all have 755"),
        (encoded(file("a", size=-1)), "'a' has the size -1"),
        (encoded(file("a", size=2**60)), f"'a' has the size {2**60}"),
        (encoded(file("a", chunks=[])), f"'a' has 1 bytes in 0 chunks; a chunk is {CHUNK_BYTES} bytes"),
        (encoded(file("a", size=0)), f"'a' has 0 bytes in 1 chunks; a chunk is {CHUNK_BYTES} bytes"),
        (encoded(file("a", chunks=["A" * 64])), f"the manifest names a chunk by {'A' * 64!r}, which is no SHA-256"),
        (encoded(file("a", chunks=["../../x"])), "the manifest names a chunk by '../../x', which is no SHA-256"),
        (encoded(file("a"), file("b", size=2)), f"a chunk of 'b' has the digest of one with another length: {A}"),
        (encoded(version=2), "manifests of version 2 are not known here, only 1"),
        (b" " + encoded(), "the manifest is not in its canonical form"),
        (encoded() + b"\n", "the manifest is not in its canonical form"),
        (b'{"version":1,"entries":[]}', "the manifest is not in its canonical form"),
    ],
)  # fmt: skip
def test_pa_17_a_hostile_manifest_is_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        manifest.decode(content)
    assert refused.value.message == message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        encoded({"path": "a", "type": "device"}),
        encoded({**file("a"), "owner": 0}),
        encoded(file("a", size=1.5)),
        encoded(file("a", size="1")),
        encoded(file("a", size=True)),
        encoded({"path": "a", "type": "file"}),
        b'{"entries":[{"path":"\\ud800","target":"a","type":"symlink"}],"version":1}',
        b'{"entries":[{"path":"\xff","target":"a","type":"symlink"}],"version":1}',
    ],
)
def test_pa_17_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"^the manifest cannot be read: "):
        manifest.decode(content)


def test_pa_17_links_that_only_cost_time_are_refused() -> None:
    """Each of these is followed through all others: without a bound it would take minutes."""
    parts = "/".join(["x/.."] * 500)
    entries = [link(f"l{number:05d}", f"{parts}/l{(number + 1) % 20000:05d}") for number in range(20_000)]
    with pytest.raises(UsageError, match="leads out of the context"):
        manifest.decode(encoded(*entries))
