"""Contexts by digest: a manifest is known by its own bytes, chunks are kept as they arrive, a lie is named."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from hud.context import pack
from hud.context.manifest import CHUNK_BYTES, CONTENT_TYPE, Directory, File, Manifest, Symlink
from tests import bench
from tests.platform_process import PlatformProcess


def chunk(content: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(content).hexdigest(), content


def fresh(count: int = 1, size: int = 40) -> list[tuple[str, bytes]]:
    """Give chunks that no platform has seen."""
    return [chunk(os.urandom(size)) for _ in range(count)]


def context(*chunks: tuple[str, bytes]) -> Manifest:
    """Give the manifest of a context with one file for each chunk."""
    files = [File(f"f{number:05}", 0o644, len(content), (digest,)) for number, (digest, content) in enumerate(chunks)]
    return Manifest(version=1, entries=tuple(files))


def register(platform: PlatformProcess, content: bytes) -> httpx.Response:
    return platform.client.post("/v2/contexts", content=content, headers={"Content-Type": CONTENT_TYPE})


def missing(platform: PlatformProcess, digest: str) -> list[str]:
    state = platform.client.get(f"/v2/contexts/{digest}").raise_for_status().json()
    assert state["digest"] == digest
    found: list[str] = state["missing"]
    return found


def send(platform: PlatformProcess, body: bytes | Iterator[bytes]) -> httpx.Response:
    return platform.client.post("/v2/blobs", content=body, headers={"Content-Type": pack.CONTENT_TYPE})


def test_a_manifest_is_known_by_its_own_digest_and_lacks_its_chunks_in_their_order(platform: PlatformProcess) -> None:
    chunks = fresh(5)
    wanted = context(*chunks)
    reply = register(platform, wanted.encode())

    assert reply.status_code == 200
    assert reply.json() == {"digest": wanted.digest, "missing": [digest for digest, _ in chunks]}
    assert missing(platform, wanted.digest) == [digest for digest, _ in chunks]


def test_chunks_that_were_sent_are_no_longer_missing_in_any_context(platform: PlatformProcess) -> None:
    first, second, third = fresh(3)
    register(platform, context(first, second).encode())
    reply = send(platform, b"".join(pack.write([second])))

    assert reply.json() == {"stored": 1, "bytes": 40}
    assert missing(platform, context(first, second).digest) == [first[0]]
    assert register(platform, context(second, third).encode()).json()["missing"] == [third[0]]


def test_the_same_manifest_and_the_same_chunk_again_change_nothing(platform: PlatformProcess) -> None:
    chunks = fresh(2)
    replies = [register(platform, context(*chunks).encode()).json() for _ in range(2)]
    sent = [send(platform, b"".join(pack.write(chunks * 2))).json() for _ in range(2)]

    assert replies[0] == replies[1]
    assert sent[0] == sent[1] == {"stored": 4, "bytes": 160}
    assert missing(platform, context(*chunks).digest) == []


def test_an_empty_pack_and_an_empty_context_are_fine(platform: PlatformProcess) -> None:
    assert send(platform, b"").json() == {"stored": 0, "bytes": 0}
    assert register(platform, context().encode()).json()["missing"] == []


@pytest.mark.parametrize("digest", ["0" * 64, "x", "../../etc/passwd", "A" * 64, "%00", "' OR 1=1 --"])
def test_a_context_that_is_not_known_is_not_found(platform: PlatformProcess, digest: str) -> None:
    reply = platform.client.get(f"/v2/contexts/{digest.replace('/', '%2F')}")

    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"


def entry(**fields: Any) -> dict[str, Any]:
    return {"type": "file", "path": "f", "mode": 0o644, "size": 0, "chunks": [], **fields}


HOSTILE: dict[str, tuple[list[dict[str, Any]], str]] = {
    "absolute": ([entry(path="/etc/x")], "an absolute path: '/etc/x'"),
    "climbing": ([entry(path="../x")], "a path that no file of a folder has: '../x'"),
    "twice": ([entry(), entry()], "lists 'f' twice or out of order"),
    "below a file": ([entry(), entry(path="f/x")], "nothing says that 'f' is a folder"),
    "link out": ([{"type": "symlink", "path": "l", "target": "../../x"}], "the link 'l' leads out of the context"),
    "device": ([entry(type="device")], "the manifest cannot be read: Invalid value 'device'"),
    "setuid": ([entry(mode=0o4755)], "'f' has the mode 4755"),
    "size that lies": ([entry(size=5)], "'f' has 5 bytes in 0 chunks"),
    "no digest": ([entry(size=5, chunks=["abc"])], "names a chunk by 'abc', which is no SHA-256"),
    "more than anything": ([entry(extra=1)], "the manifest cannot be read: Object contains unknown field `extra`"),
}


@pytest.mark.parametrize(("entries", "words"), HOSTILE.values(), ids=HOSTILE)
def test_pa_17_a_manifest_that_no_folder_can_hold_is_refused_and_not_kept(
    platform: PlatformProcess, entries: list[dict[str, Any]], words: str
) -> None:
    content = json.dumps({"entries": entries, "version": 1}, separators=(",", ":"), sort_keys=True).encode()
    reply = register(platform, content)

    assert reply.status_code == 400
    assert words in reply.json()["detail"]
    assert platform.client.get(f"/v2/contexts/{hashlib.sha256(content).hexdigest()}").status_code == 404


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"entries":[], "version":1}'])
def test_what_is_no_canonical_manifest_is_refused(platform: PlatformProcess, content: bytes) -> None:
    reply = register(platform, content)

    assert reply.status_code == 400
    assert "the manifest" in reply.json()["detail"]


def test_folders_in_folders_without_end_are_refused(platform: PlatformProcess) -> None:
    paths = ["/".join(["d"] * number) for number in range(1, 300)]
    reply = register(platform, Manifest(version=1, entries=tuple(Directory(path, 0o755) for path in paths)).encode())

    assert reply.status_code == 400
    assert "folders in folders to a depth of 299, at most 256" in reply.json()["detail"]


def test_a_context_beyond_the_limit_is_refused_before_anything_is_sent(platform: PlatformProcess) -> None:
    content = chunk(b"x")[0]
    large = File("large", 0o644, 2**36, (content,) * (2**36 // CHUNK_BYTES))
    reply = register(platform, Manifest(version=1, entries=(large,)).encode())

    assert reply.status_code == 413
    assert reply.json()["detail"] == f"the context has {2**36} bytes, and this platform takes {20 * 2**30}"


def test_names_in_any_script_are_kept(platform: PlatformProcess) -> None:
    entries = (Directory("日本", 0o755), Symlink("日本/🎉", "файл"))
    wanted = Manifest(version=1, entries=entries)

    assert register(platform, wanted.encode()).json() == {"digest": wanted.digest, "missing": []}


def test_a_chunk_that_lies_is_named_and_those_before_it_are_kept(platform: PlatformProcess) -> None:
    good, other, late = fresh(3)
    register(platform, context(good, other, late).encode())
    reply = send(platform, b"".join(pack.write([good, (other[0], late[1]), late])))

    assert reply.status_code == 400
    assert reply.json()["detail"] == f"the content of chunk {other[0]} has another digest"
    assert missing(platform, context(good, other, late).digest) == [other[0], late[0]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not a pack", "ends inside the header of its chunk number 1"),
        (b"x" * 200, "chunk number 1 of the pack has no header"),
        (b"%s %d\n" % (b"0" * 64, CHUNK_BYTES + 1), f"chunk number 1 has {CHUNK_BYTES + 1} bytes; at most"),
        (b"%s 0\n" % (b"0" * 64), "chunk number 1 of the pack has no header"),
        (b"%s 5\nabc" % (b"0" * 64), "the pack ends 2 bytes before the end of chunk 0000"),
    ],
)  # fmt: skip
def test_what_is_no_pack_is_refused(platform: PlatformProcess, body: bytes, words: str) -> None:
    reply = send(platform, body)

    assert reply.status_code == 400
    assert words in reply.json()["detail"]


def test_a_large_file_arrives_in_chunks_and_in_flat_memory(platform: PlatformProcess) -> None:
    source = random.Random(os.urandom(8))
    chunks = [chunk(source.randbytes(CHUNK_BYTES)) for _ in range(24)]
    file = File("large", 0o644, 24 * CHUNK_BYTES, tuple(digest for digest, _ in chunks))
    wanted = Manifest(version=1, entries=(file,))
    register(platform, wanted.encode())
    send(platform, b"".join(pack.write(chunks[:2])))
    before = peak_bytes(platform.pid)
    reply = send(platform, pack.write(chunks[2:]))

    assert reply.json() == {"stored": 22, "bytes": 22 * CHUNK_BYTES}
    assert missing(platform, wanted.digest) == []
    assert peak_bytes(platform.pid) - before < 48 * 2**20


def peak_bytes(pid: int) -> int:
    """Give the most memory that a process had so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("route", ["GET /v2/contexts/0", "POST /v2/contexts", "POST /v2/blobs"])
def test_pa_02_contexts_need_a_key_and_sending_one_that_writes(platform: PlatformProcess, route: str) -> None:
    method, _, path = route.partition(" ")
    reader = platform.as_key(platform.mint("read"))

    assert platform.as_key(None).request(method, path).status_code == 401
    assert reader.request(method, path).status_code == (404 if method == "GET" else 403)


# Connections that are cut


def raw_post(platform: PlatformProcess, path: str, size: int, *, method: str = "POST") -> socket.socket:
    """Open a connection on which a body of so many bytes is announced."""
    address = urlsplit(platform.url)
    assert address.hostname
    connection = socket.create_connection((address.hostname, address.port or 80), timeout=20)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {platform.key}\r\n"
    head += f"Content-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def cut(connection: socket.socket, *, hard: bool) -> None:
    """Leave: orderly, or as a machine does that is gone."""
    if hard:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
def test_a_pack_cut_at_any_byte_keeps_whole_chunks_and_no_part_of_one(platform: PlatformProcess, hard: bool) -> None:
    """What the platform read before the cut counts; what was still on its way is sent again."""
    body = b"".join(pack.write(fresh(2, size=30)))
    ends = (len(body) // 2, len(body))
    for length in range(len(body) + 1):
        chunks = fresh(2, size=30)
        wanted = context(*chunks)
        register(platform, wanted.encode())
        connection = raw_post(platform, "/v2/blobs", len(body) + 1)
        connection.sendall(b"".join(pack.write(chunks))[:length])
        cut(connection, hard=hard)
        whole = sum(length >= end for end in ends)
        assert set(missing(platform, wanted.digest)) >= {digest for digest, _ in chunks[whole:]}
        assert send(platform, b"".join(pack.write(chunks))).json()["stored"] == 2
        assert missing(platform, wanted.digest) == []


def test_chunks_that_arrived_before_a_cut_need_not_be_sent_again(platform: PlatformProcess) -> None:
    chunks = fresh(6, size=3 * 2**20)
    wanted = context(*chunks)
    register(platform, wanted.encode())
    body = b"".join(pack.write(chunks))
    connection = raw_post(platform, "/v2/blobs", len(body))
    connection.sendall(body[: len(body) * 3 // 4])
    eventually(lambda: len(missing(platform, wanted.digest)) <= 3)
    cut(connection, hard=True)
    left = missing(platform, wanted.digest)

    assert left == [digest for digest, _ in chunks][-len(left) :]
    assert send(platform, b"".join(pack.write(one for one in chunks if one[0] in left))).json()["stored"] == len(left)
    assert missing(platform, wanted.digest) == []


def test_a_manifest_cut_at_any_byte_registers_nothing(platform: PlatformProcess) -> None:
    wanted = context(*fresh())
    content = wanted.encode()
    for length in range(0, len(content), 7):
        connection = raw_post(platform, "/v2/contexts", len(content))
        connection.sendall(content[:length])
        cut(connection, hard=True)

    assert platform.client.get(f"/v2/contexts/{wanted.digest}").status_code == 404
    assert register(platform, content).status_code == 200


def test_a_platform_killed_in_the_middle_of_a_pack_keeps_what_was_whole(
    fresh_platform: Callable[..., PlatformProcess],
) -> None:
    platform = fresh_platform()
    chunks = fresh(8, size=2 * 2**20)
    wanted = context(*chunks)
    register(platform, wanted.encode())
    body = b"".join(pack.write(chunks))
    connection = raw_post(platform, "/v2/blobs", len(body))
    connection.sendall(body[: len(body) // 2])
    eventually(lambda: len(missing(platform, wanted.digest)) < 8)
    platform.stop(9)
    connection.close()
    platform.start()
    left = missing(platform, wanted.digest)

    assert 0 < len(left) < 8
    send(platform, b"".join(pack.write(one for one in chunks if one[0] in left)))
    assert missing(platform, wanted.digest) == []


def test_a_full_disk_is_503_and_the_chunks_before_it_are_kept(
    fresh_platform: Callable[..., PlatformProcess], tmp_path: Path
) -> None:
    platform = fresh_platform(data=tmp_path / "data")
    small = tmp_path / "data" / "blobs" / "chunks"
    small.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=False).returncode != 0:
        pytest.skip("a disk that fills up has to be mounted, which needs root")
    try:
        chunks = fresh(2, size=3 * 2**20)
        register(platform, context(*chunks).encode())
        reply = send(platform, b"".join(pack.write(chunks)))

        assert reply.status_code == 503
        assert reply.json()["detail"] == "the platform's disk is full"
        assert "hud platform gc" in reply.json()["hint"]
        assert int(reply.headers["Retry-After"]) <= 30
        assert missing(platform, context(*chunks).digest) == [chunks[1][0]]
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def test_a_platform_on_a_bucket_answers_the_same(fresh_platform: Callable[..., PlatformProcess]) -> None:
    bucket = bench.require_bucket()
    platform = fresh_platform("--blobs", bucket.url, **bucket.variables)
    chunks = fresh(100)
    wanted = context(*chunks)
    assert register(platform, wanted.encode()).json()["missing"] == [digest for digest, _ in chunks]
    assert send(platform, b"".join(pack.write(chunks[10:]))).json() == {"stored": 90, "bytes": 3600}

    assert missing(platform, wanted.digest) == [digest for digest, _ in chunks[:10]]
    assert not any(path.is_file() for path in (platform.data / "blobs").rglob("*"))
