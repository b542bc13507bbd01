"""Reading and hashing a build's files: once, in chunks, and never half of a change."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud.context import CHUNK_BYTES, Context, Recipe, chunk_source, digest, scan
from hud.context.manifest import File
from hud.errors import HudError
from tests.hud.context.folders import Files

RECIPE = Recipe(dockerfile="Dockerfile")
Found = Callable[[Files], Context]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "size", [0, 1, 2**21, 2**21 + 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 7]
)
def test_a_file_is_named_by_the_digests_of_its_chunks(found: Found, size: int) -> None:
    content = os.urandom(size)
    (file,) = [file for file in digest(found({"big": content})).files if file.path == "big"]
    parts = [content[at : at + CHUNK_BYTES] for at in range(0, size, CHUNK_BYTES)]
    assert file == File("big", 0o644, size, tuple(map(sha256, parts)))


def test_equal_folders_have_one_digest_whatever_their_times_and_modes(
    found: Found, project: Callable[[Files], Path]
) -> None:
    files = {"a/b": "1", "c": "2"}
    before = digest(found(files)).digest
    folder = project(files)
    os.utime(folder / "c", (1, 1))
    (folder / "c").chmod(0o600)
    assert digest(scan(folder, RECIPE)).digest == before
    (folder / "c").chmod(0o755)
    assert digest(scan(folder, RECIPE)).digest != before


def test_progress_ends_with_all_bytes(found: Found) -> None:
    told: list[tuple[int, int]] = []
    context = found({"a": bytes(CHUNK_BYTES + 5), "b": bytes(3 * 2**20), "c": "x"})
    digest(context, lambda done, total: told.append((done, total)))
    assert told[-1] == (context.size_bytes, context.size_bytes)
    assert told == sorted(told)


def test_chunks_are_read_again_by_their_digest(found: Found) -> None:
    context = found({"a": b"x" * (CHUNK_BYTES + 5), "b": "hello", "c": "hello"})
    manifest = digest(context)
    read = chunk_source(context, manifest)
    assert read(sha256(b"hello")) == b"hello"
    assert {name: len(read(name)) for name in manifest.chunk_sizes} == manifest.chunk_sizes


def _grow(file: Path) -> None:
    with file.open("ab") as end:
        end.write(b"!")


def _shrink(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def _overwrite(file: Path) -> None:
    with file.open("r+b") as begin:
        begin.write(b"!")


def _vanish(file: Path) -> None:
    file.unlink()


def _become_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("size", [100, CHUNK_BYTES + 100], ids=["small", "large"])
@pytest.mark.parametrize("change", [_grow, _shrink, _vanish, _become_a_pipe])
def test_a_file_that_is_no_longer_what_was_found_stops_the_hashing(
    found: Found, change: Callable[[Path], None], size: int
) -> None:
    context = found({"d/file": bytes(size)})
    change(context.root / "d/file")
    with pytest.raises(HudError, match=r"^d/file (changed|vanished) while it was read$"):
        digest(context)


@pytest.mark.parametrize("change", [_shrink, _overwrite, _vanish])
def test_a_chunk_that_is_no_longer_what_was_hashed_is_not_sent(found: Found, change: Callable[[Path], None]) -> None:
    context = found({"file": b"hello"})
    read = chunk_source(context, digest(context))
    change(context.root / "file")
    with pytest.raises(HudError, match=r"^file (changed|vanished) while it was read$"):
        read(sha256(b"hello"))


@pytest.fixture
def nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    yield
    os.seteuid(0)


def test_an_unreadable_file_is_named(found: Found, nobody: None) -> None:
    context = found({"key": "secret"})
    (context.root / "key").chmod(0o600)
    for folder in (context.root, *context.root.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    os.seteuid(65534)
    with pytest.raises(HudError, match=r"^cannot read key: Permission denied$"):
        digest(context)


_MEASURE = """
import sys
from pathlib import Path
from hud.context import digest, find_recipe, scan
import hud.context.hashing
folder = Path(sys.argv[1])


def most_kib():  # getrusage's number survives exec: a child begins with its parent's
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))


before = most_kib()
digest(scan(folder, find_recipe(folder)))
print((most_kib() - before) // 1024)
"""


def test_a_large_file_is_never_held(project: Callable[[Files], Path]) -> None:
    folder = project({})
    with (folder / "huge").open("wb") as file:
        file.truncate(512 * 2**20)
    done = subprocess.run([sys.executable, "-c", _MEASURE, folder], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32
