"""Sending a context: what is missing alone, in little memory, through broken connections; else an archive."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud import settings
from hud.context import Context, Manifest, digest, find_recipe, scan
from hud.context.manifest import CHUNK_BYTES
from hud.errors import HudError, PlatformError, UnreachableError
from hud.platform import deployment, uploads
from hud.platform.client import Platform
from hud.platform.records import ContextState
from tests.hud.context.folders import Files, write
from tests.platform_process import PlatformProcess
from tests.stand_in import DROP, PublicService, Scripted

MIB = 2**20


@pytest.fixture
def public(public_service: PublicService) -> Iterator[Platform]:
    explicit = {**public_service.variables, "HUD_RETRY_LIMIT_S": "30"}
    with Platform(settings.load(explicit)) as platform:
        yield platform


@pytest.fixture
def own(platform: PlatformProcess) -> Iterator[Platform]:
    with Platform(settings.load({"HUD_API_URL": platform.url, "HUD_API_KEY": platform.key})) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with contents that no platform has seen."""
    files: Files = {
        "Dockerfile": f"FROM x{uuid.uuid4()}\n",
        "a/one": os.urandom(2000),
        "a/two": os.urandom(3000),
        "empty": "",
    }
    return write(tmp_path / "context", files)


def scanned(folder: Path) -> Context:
    return scan(folder, find_recipe(folder))


def send(client: Platform, folder: Path) -> int:
    """Send a context to a platform with chunks, and give the bytes that travelled."""
    context = scanned(folder)
    return uploads.send_chunks(client, context, digest(context))


def missing(client: Platform, folder: Path) -> list[str]:
    manifest = digest(scanned(folder))
    return client.call("GET", f"/contexts/{manifest.digest}", into=ContextState).missing


def test_the_first_time_everything_travels_and_the_second_time_a_digest_alone(own: Platform, folder: Path) -> None:
    manifest = digest(scanned(folder)).encode()
    assert send(own, folder) == len(manifest) + sum(size for size in digest(scanned(folder)).chunk_sizes.values())
    assert missing(own, folder) == []
    assert send(own, folder) == 0


def test_only_what_changed_travels(own: Platform, folder: Path) -> None:
    write(folder, {"big": random.Random(uuid.uuid4().int).randbytes(3 * CHUNK_BYTES)})
    send(own, folder)
    with (folder / "big").open("r+b") as file:
        file.seek(CHUNK_BYTES + 5)
        file.write(b"changed")
    (folder / "a" / "one").write_bytes(b"new")
    assert send(own, folder) == CHUNK_BYTES + len(b"new") + len(digest(scanned(folder)).encode())


def test_a_file_that_is_there_twice_travels_once(own: Platform, tmp_path: Path) -> None:
    content = os.urandom(MIB)
    folder = write(tmp_path / "twins", {"Dockerfile": "FROM x\n", "one": content, "two": content})
    assert send(own, folder) < MIB + 1000


def test_progress_ends_with_all_that_had_to_be_sent(own: Platform, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    context = scanned(folder)
    manifest = digest(context)
    uploads.send_chunks(own, context, manifest, lambda done, total: told.append((done, total)))
    total = sum(manifest.chunk_sizes.values())
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_a_file_that_changes_meanwhile_ends_the_upload(own: Platform, folder: Path) -> None:
    context = scanned(folder)
    manifest = digest(context)
    (folder / "a" / "one").write_bytes(os.urandom(2000))
    with pytest.raises(HudError, match="a/one changed while it was read"):
        uploads.send_chunks(own, context, manifest)


def script_lack(service: PublicService, manifest: Manifest, *counts: int) -> None:
    """Have a service answer as a platform that lacks so many chunks, one answer after the other."""
    chunks = list(manifest.chunk_sizes)
    replies = [Scripted(body={"digest": manifest.digest, "missing": chunks[:count]}) for count in counts]
    service.script("GET", f"/v2/contexts/{manifest.digest}", *replies, always=True)


def test_after_a_cut_the_platform_is_asked_what_arrived_and_the_rest_is_sent(
    public: Platform, public_service: PublicService, folder: Path
) -> None:
    context = scanned(folder)
    manifest = digest(context)
    script_lack(public_service, manifest, 3, 1, 0)
    public_service.script("POST", "/v2/blobs", Scripted(body={"stored": 2, "bytes": 5000}), always=True)
    uploads.send_chunks(public, context, manifest)
    first, second = public_service.calls("POST", "/v2/blobs")
    assert first.headers["content-type"] == "application/vnd.hud.blobs"
    assert len(first.body) > len(second.body)
    assert second.body.startswith(next(iter(manifest.chunk_sizes)).encode())


@pytest.mark.parametrize("drop", ["before", "after", "middle"])
def test_a_pack_whose_connection_breaks_is_sent_again(
    public: Platform, public_service: PublicService, folder: Path, drop: str
) -> None:
    context = scanned(folder)
    script_lack(public_service, digest(context), 3, 0)
    stored = Scripted(body={"stored": 3, "bytes": 1})
    public_service.script(
        "POST", "/v2/blobs", Scripted(drop=drop), Scripted(status=503, headers={"Retry-After": "0"}), stored
    )
    uploads.send_chunks(public, context, digest(context))
    *_, last = public_service.calls("POST", "/v2/blobs")
    assert len(last.body) > 5000


def test_a_platform_that_keeps_nothing_is_not_sent_to_for_ever(
    public: Platform, public_service: PublicService, folder: Path
) -> None:
    context = scanned(folder)
    script_lack(public_service, digest(context), 3)
    public_service.script("POST", "/v2/blobs", Scripted(body={"stored": 0, "bytes": 0}), always=True)
    with pytest.raises(HudError, match="does not keep what is sent: 3 chunks are missing"):
        uploads.send_chunks(public, context, digest(context))
    assert len(public_service.calls("POST", "/v2/blobs")) == 4


def test_a_refused_pack_ends_the_upload_with_what_the_platform_said(
    public: Platform, public_service: PublicService, folder: Path
) -> None:
    context = scanned(folder)
    script_lack(public_service, digest(context), 3)
    public_service.script("POST", "/v2/blobs", Scripted(status=507, body={"detail": "The disk is full"}), always=True)
    with pytest.raises(PlatformError, match="the disk is full"):
        uploads.send_chunks(public, context, digest(context))


def test_a_platform_that_restarts_meanwhile_gets_all(
    fresh_platform: Callable[..., PlatformProcess], tmp_path: Path
) -> None:
    process = fresh_platform()
    noise = random.Random(7)
    files = {f"big{number}": noise.randbytes(CHUNK_BYTES) for number in range(6)}
    folder = write(tmp_path / "context", {"Dockerfile": "FROM x\n", **files})
    address = process.url
    port = address.rpartition(":")[2]

    def restart(done: int, total: int) -> None:
        if done >= total / 2 and process.words == ():
            process.words = ("--port", port)
            process.stop(9)
            process.start()

    with Platform(settings.load({"HUD_API_URL": address, "HUD_API_KEY": process.key})) as client:
        context = scanned(folder)
        manifest = digest(context)
        uploads.send_chunks(client, context, manifest, restart)
        assert process.words
        assert client.call("GET", f"/contexts/{manifest.digest}", into=ContextState).missing == []


# The public flow


def members(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        return file.getnames()


def test_without_chunks_a_reproducible_archive_is_put_without_the_key(
    public: Platform, public_service: PublicService, folder: Path
) -> None:
    tickets = [uploads.send_archive(public, scanned(folder))[0] for _ in range(2)]
    first, second = (public_service.uploads[ticket.build_id] for ticket in tickets)
    assert first == second
    assert members(first) == ["Dockerfile", "a", "a/one", "a/two", "empty"]
    put = public_service.calls("PUT")[0]
    assert put.headers["content-type"] == "application/gzip"
    assert put.headers["content-length"] == str(len(first))
    assert "authorization" not in put.headers
    assert put.query == {"sig": ["s3cr3t-signature"]}


@pytest.mark.parametrize("fault", [Scripted(status=503, headers={"Retry-After": "0"}), DROP, Scripted(drop="before")])
def test_weakness_2_a_put_that_fails_once_is_put_again(
    public: Platform, public_service: PublicService, folder: Path, fault: Scripted
) -> None:
    public_service.script("PUT", "/store/.*", fault)
    told: list[int] = []
    ticket, size = uploads.send_archive(public, scanned(folder), sending=lambda done, _: told.append(done))
    assert len(public_service.uploads[ticket.build_id]) == size == told[-1]
    assert len(public_service.calls("PUT")) == 2


def test_weakness_2_a_refused_put_shows_no_signature(
    public: Platform, public_service: PublicService, folder: Path
) -> None:
    public_service.script("PUT", "/store/.*", Scripted(status=403, body=b"<Error>expired</Error>"))
    with pytest.raises(PlatformError) as caught:
        uploads.send_archive(public, scanned(folder))
    assert "s3cr3t-signature" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint == "run the command again: the address may have expired"


def test_storage_that_stays_away_ends_the_deploy(public_service: PublicService, folder: Path) -> None:
    public_service.script("PUT", "/store/.*", DROP, always=True)
    explicit = {**public_service.variables, "HUD_RETRY_LIMIT_S": "0"}
    with Platform(settings.load(explicit)) as client, pytest.raises(UnreachableError) as caught:
        uploads.send_archive(client, scanned(folder))
    assert "s3cr3t-signature" not in str(caught.value)
    assert public_service.calls("POST", "/v2/builds/trigger") == []


def test_a_disk_without_room_for_the_archive_is_named(public_service: PublicService, folder: Path) -> None:
    write(folder, {"big": os.urandom(MIB)})
    limited = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from pathlib import Path
from hud import settings
from hud.platform import deployment
from hud.platform.client import Platform
with Platform(settings.load()) as client:
    try:
        deployment.send(client, deployment.prepare(Path({str(folder)!r}), wanted=None))
    except Exception as error:
        print(type(error).__name__, error, error.hint)
"""
    write(folder, {"env.py": 'from hud import Environment\nenv = Environment("e")\n'})
    variables = {**os.environ, **public_service.variables, "TMPDIR": str(folder.parent)}
    done = subprocess.run([sys.executable, "-c", limited], env=variables, capture_output=True, text=True)
    assert done.stdout == (
        f"HudError there is no room in {folder.parent} for the archive of {folder}: File too large "
        "export TMPDIR=… names a folder with more room\n"
    ), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chunks", "archive"])
def test_memory_is_flat_for_a_large_file(
    platform: PlatformProcess, public_service: PublicService, tmp_path: Path, kind: str
) -> None:
    folder = write(tmp_path / "context", {"Dockerfile": "FROM x\n", "env.py": ""})
    (folder / "big").write_bytes(random.Random(3).randbytes(120 * MIB))
    program = f"""
import resource, sys
from pathlib import Path
from hud import settings
from hud.context import digest, find_recipe, scan
from hud.platform import uploads
from hud.platform.client import Platform
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path({str(folder)!r})
context = scan(folder, find_recipe(folder))
with Platform(settings.load()) as client:
    if {kind!r} == "chunks":
        uploads.send_chunks(client, context, digest(context))
    else:
        uploads.send_archive(client, context)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) // 1024)
"""
    access = platform.settings if kind == "chunks" else public_service.variables
    variables = {**os.environ, **access}
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, cwd=Path.cwd()
    )
    assert int(done.stdout or 10**6) <= 64, done.stderr


def test_both_ways_of_sending_are_chosen_by_what_the_platform_offers(
    own: Platform, public: Platform, folder: Path
) -> None:
    write(folder, {"env.py": 'from hud import Environment\nenv = Environment("e")\n'})
    plan = deployment.prepare(folder)
    by_chunks, by_archive = deployment.send(own, plan), deployment.send(public, plan)
    assert by_chunks.digest == digest(plan.context).digest
    assert by_archive.digest is None
    assert by_archive.sent_bytes > 0
