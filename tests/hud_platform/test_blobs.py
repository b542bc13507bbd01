"""Blobs appear whole or not at all, in files and in a bucket alike."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hud.context.pack import Blob
from hud.errors import HudError
from hud_platform.config import PlatformConfig
from hud_platform.contexts.blobs import PREFIXES, BlobStore, open_blobs
from hud_platform.storage.data_folder import open_folder
from hud_platform.web.refusals import Busy
from tests import bench


@pytest.fixture(params=["files", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    """An empty store, once in files and once in a bucket."""
    url = None
    if request.param == "bucket":
        bucket = bench.require_bucket()
        url = bucket.url
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
    return open_blobs(PlatformConfig(data=tmp_path, blobs_url=url), open_folder(tmp_path))


@pytest.fixture
def files(tmp_path: Path) -> BlobStore:
    """An empty store in files, below `tmp_path / "blobs"`."""
    return open_blobs(PlatformConfig(data=tmp_path), open_folder(tmp_path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False).returncode != 0:
        pytest.skip("a disk that fills up has to be mounted, which needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def blob(content: bytes) -> Blob:
    return Blob(hashlib.sha256(content).hexdigest(), content)


def copied(store: BlobStore, wanted: Blob, folder: Path) -> bytes:
    path = folder / "copy"
    with path.open("wb") as file:
        store.copy(wanted.digest, len(wanted.content), file.fileno())
    return path.read_bytes()


def everything(store: BlobStore) -> dict[str, int]:
    return {stored.name: stored.size_bytes for prefix in PREFIXES for stored in store.listed("chunks", prefix)}


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 8 * 2**20])
def test_what_was_put_is_there_and_is_given_back(blobs: BlobStore, tmp_path: Path, size: int) -> None:
    stored = blob(os.urandom(size))
    blobs.put([stored])

    assert blobs.lacking({stored.digest: size}) == []
    assert copied(blobs, stored, tmp_path) == stored.content


@pytest.mark.parametrize("count", [10, 200], ids=["asked one by one", "asked by listings"])
def test_what_is_lacking_is_told_in_the_order_of_the_question(blobs: BlobStore, count: int) -> None:
    all_of_them = [blob(b"%d" % number) for number in range(count)]
    blobs.put(all_of_them[::2])

    sizes = {one.digest: len(one.content) for one in all_of_them}
    assert blobs.lacking(sizes) == [one.digest for one in all_of_them[1::2]]
    assert blobs.lacking({}) == []


def test_copies_are_appended_one_after_the_other(blobs: BlobStore, tmp_path: Path) -> None:
    first, second = blob(b"first "), blob(b"second")
    blobs.put([first, second])
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for one in (first, second, first):
            blobs.copy(one.digest, len(one.content), file.fileno())

    assert (tmp_path / "file").read_bytes() == b"first secondfirst "


def test_a_blob_that_is_gone_is_named(blobs: BlobStore, tmp_path: Path) -> None:
    gone = blob(b"gone")
    with pytest.raises(HudError, match=f"the chunk {gone.digest} of the context is gone") as refused:
        copied(blobs, gone, tmp_path)
    assert refused.value.hint == "hud deploy sends it again"


def test_a_blob_of_another_length_counts_as_absent_and_is_written_again(files: BlobStore, tmp_path: Path) -> None:
    stored = blob(b"whole")
    files.put([stored])
    path = tmp_path / "blobs/chunks" / stored.digest[:2] / stored.digest
    for damaged in (b"", b"who", b"whole and more"):
        path.write_bytes(damaged)
        assert files.lacking({stored.digest: 5}) == [stored.digest]
        with pytest.raises(HudError, match="does not have its 5 bytes any more"):
            copied(files, stored, tmp_path)
        files.put([stored])
        assert path.read_bytes() == b"whole"


def test_a_listing_tells_names_sizes_and_times(blobs: BlobStore) -> None:
    before_s = time.time() - 2
    stored = [blob(b"x" * number) for number in range(1, 20)]
    blobs.put(stored)

    assert everything(blobs) == {one.digest: len(one.content) for one in stored}
    one = stored[0]
    assert all(found.stored_at_s > before_s for found in blobs.listed("chunks", one.digest[:2]))


def test_what_was_sent_again_counts_as_new(files: BlobStore, tmp_path: Path) -> None:
    stored = blob(b"again")
    files.put([stored])
    path = tmp_path / "blobs/chunks" / stored.digest[:2] / stored.digest
    os.utime(path, (1, 1))
    files.put([stored])

    assert next(files.listed("chunks", stored.digest[:2])).stored_at_s > 1


def test_removing_is_no_error_when_it_is_gone_already(blobs: BlobStore) -> None:
    stored = blob(b"x")
    blobs.put([stored])
    for _ in range(2):
        blobs.remove("chunks", stored.digest[:2], [stored.digest])

    assert everything(blobs) == {}


def test_manifests_are_apart_from_chunks(blobs: BlobStore) -> None:
    manifest = blob(b"{}")
    blobs.put_manifest(manifest.digest, manifest.content)

    assert blobs.manifest(manifest.digest) == b"{}"
    assert blobs.lacking({manifest.digest: 2}) == [manifest.digest]
    assert blobs.manifest(blob(b"other").digest) is None


def test_a_full_disk_is_told_and_leaves_nothing_behind(small_disk: Path) -> None:
    store = open_blobs(PlatformConfig(data=small_disk), open_folder(small_disk))
    kept, last = blob(os.urandom(3 * 2**20)), blob(os.urandom(3 * 2**20))
    with pytest.raises(OSError, match="No space left"):
        store.put([kept, last])

    assert everything(store) == {kept.digest: len(kept.content)}
    assert store.lacking({kept.digest: 3 * 2**20, last.digest: 3 * 2**20}) == [last.digest]


def test_many_writers_of_one_blob_leave_one(files: BlobStore, tmp_path: Path) -> None:
    stored = blob(os.urandom(2**20))
    writers = [threading.Thread(target=files.put, args=([stored],)) for _ in range(8)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        with suppress(HudError):
            assert copied(files, stored, tmp_path) == stored.content
    for writer in writers:
        writer.join()

    assert everything(files) == {stored.digest: 2**20}


def test_a_bucket_that_does_not_answer_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    store = open_blobs(PlatformConfig(data=tmp_path, blobs_url="s3://bucket"), open_folder(tmp_path))

    with pytest.raises(Busy, match=r"the store of blobs does not answer: .*127.0.0.1:9"):
        store.manifest("0" * 64)


@pytest.mark.parametrize("url", ["nonsense", "ftp://host/x", "s3://"])
def test_an_address_that_is_no_place_for_blobs_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(HudError, match=f"'{url}' is no place for blobs") as refused:
        open_blobs(PlatformConfig(data=tmp_path, blobs_url=url), open_folder(tmp_path))
    assert refused.value.hint == "--blobs s3://bucket/prefix"


def test_a_sweep_waits_for_those_who_rely_on_what_is_there(files: BlobStore) -> None:
    order: list[str] = []

    def sweep() -> None:
        with files.sweep():
            order.append("swept")

    with files.using():
        sweeper = threading.Thread(target=sweep)
        sweeper.start()
        with files.using():  # others may rely on it at the same time
            order.append("used")
    sweeper.join()

    assert order == ["used", "swept"]
