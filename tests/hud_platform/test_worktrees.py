"""An environment's folder holds exactly the files of the last context, whatever it held and however it ended before."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hud.context import manifest as manifests
from hud.context.manifest import CHUNK_BYTES, Directory, File, Manifest, Symlink
from hud.context.pack import Blob
from hud.errors import HudError, NotFoundError, UsageError
from hud_platform.backend import open_backend
from hud_platform.config import PlatformConfig
from hud_platform.contexts import contexts, worktrees
from hud_platform.contexts.blobs import BlobStore, open_blobs
from hud_platform.storage.data_folder import open_folder
from hud_platform.threads import GivenUp, Stop
from tests import bench
from tests.hud_platform.test_archives import link, member, packed

Tree = dict[str, bytes | tuple[bytes, int] | str | None]
"""A context by path: content, content and mode, a link's target after `->`, or None for a folder."""


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_blobs(PlatformConfig(data=tmp_path), open_folder(tmp_path))


def context(tree: Tree, blobs: BlobStore | None = None) -> Manifest:
    """Give the manifest of a tree, whose chunks go into a store."""
    entries: dict[str, File | Directory | Symlink] = {}
    for path, what in tree.items():
        for number in range(1, path.count("/") + 1):
            parent = "/".join(path.split("/")[:number])
            entries[parent] = Directory(parent, 0o755)
        if what is None:
            entries[path] = Directory(path, 0o755)
        elif isinstance(what, str):
            entries[path] = Symlink(path, what)
        else:
            content, mode = what if isinstance(what, tuple) else (what, 0o644)
            parts = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
            chunks = [Blob(hashlib.sha256(part).hexdigest(), part) for part in parts]
            if blobs is not None:
                blobs.put(chunks)
            entries[path] = File(path, mode, len(content), tuple(chunk.digest for chunk in chunks))
    found = Manifest(version=1, entries=tuple(entries[path] for path in sorted(entries)))
    return manifests.decode(found.encode())


def on_disk(folder: Path) -> Tree:
    """Read a folder as a tree."""
    found: Tree = {}
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(parent, name)
            mode = stat.S_IMODE(path.lstat().st_mode)
            if path.is_symlink():
                found[str(path.relative_to(folder))] = os.readlink(path)
            elif path.is_dir():
                assert mode == 0o755
                found[str(path.relative_to(folder))] = None
            else:
                found[str(path.relative_to(folder))] = (path.read_bytes(), mode)
    return found


def expected(tree: Tree) -> Tree:
    """Give a tree with every folder and mode written out."""
    full: Tree = {}
    for path, what in tree.items():
        for number in range(1, path.count("/") + 1):
            full["/".join(path.split("/")[:number])] = None
        full[path] = (what, 0o644) if isinstance(what, bytes) else what
    return full


FIRST: Tree = {
    "Dockerfile": b"FROM x", "run": (b"#!", 0o755), "d/e/f": b"deep", "empty": b"",
    "folder": None, "l": "d/e", "日/本": b"u",
}  # fmt: skip


def test_files_folders_links_and_modes_are_made(blobs: BlobStore, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        tree = worktrees.update(tmp_path / "place", context(FIRST, blobs), blobs)
    finally:
        os.umask(old)

    assert on_disk(tree) == expected(FIRST)


def test_a_file_of_several_chunks_is_put_together(blobs: BlobStore, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(2 * CHUNK_BYTES + 4097)
    tree = worktrees.update(tmp_path / "place", context({"big": content}, blobs), blobs)

    assert (tree / "big").read_bytes() == content


def test_only_what_changed_is_touched(blobs: BlobStore, tmp_path: Path) -> None:
    tree = worktrees.update(tmp_path / "place", context(FIRST, blobs), blobs)
    before = {path: path.lstat() for path in tree.rglob("*")}
    worktrees.update(tmp_path / "place", context({**FIRST, "run": (b"#!", 0o644), "d/g": b"new"}, blobs), blobs)

    files = {path for path in before if not path.is_dir() or path.is_symlink()}
    same = {path for path in files if path.lstat().st_ino == before[path].st_ino}
    assert files - same == {tree / "run"}
    assert all(path.lstat().st_mtime_ns == before[path].st_mtime_ns for path in same)


def test_what_is_written_has_one_time_that_no_file_had_before(blobs: BlobStore, tmp_path: Path) -> None:
    place = tmp_path / "place"
    tree = worktrees.update(place, context({"a": b"1", "b": b"1", "c": b"1"}, blobs), blobs)
    first = {(tree / name).stat().st_mtime_ns for name in "abc"}
    worktrees.update(place, context({"a": b"2", "b": b"2", "c": b"1"}, blobs), blobs)
    second = {(tree / name).stat().st_mtime_ns for name in "ab"}

    assert len(first) == len(second) == 1
    assert max(second) > max(first)


PATHS = st.lists(st.sampled_from(["a", "b", "ü"]), min_size=1, max_size=3).map("/".join)
CONTENTS = st.sampled_from([b"", b"1", b"2", (b"1", 0o755), None, "a", "b/a", "nowhere", "ü"])


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Give a tree in which nothing lies below a file or a link."""
    tree: Tree = {}
    for path, what in draw(st.dictionaries(PATHS, CONTENTS, max_size=10)).items():
        parents = {path[:at] for at, letter in enumerate(path) if letter == "/"}
        is_free = all(tree.get(parent) is None for parent in parents)
        if is_free and not any(other.startswith(f"{path}/") for other in tree):
            tree[path] = what
    return tree


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(trees(), min_size=2, max_size=6))
def test_any_sequence_of_contexts_leaves_the_tree_of_the_last(
    blobs: BlobStore, tmp_path: Path, sequence: list[Tree]
) -> None:
    place = tmp_path / uuid.uuid4().hex
    for tree in sequence:
        folder = worktrees.update(place, context(tree, blobs), blobs)
        assert on_disk(folder) == expected(tree)
    shutil.rmtree(place)


def test_nothing_is_written_through_a_link_that_was_there(blobs: BlobStore, tmp_path: Path) -> None:
    place = tmp_path / "place"
    worktrees.update(place, context({"real/f": b"mine", "l": "real"}, blobs), blobs)
    tree = worktrees.update(place, context({"real/f": b"mine", "l/f": b"other"}, blobs), blobs)

    assert on_disk(tree) == expected({"real/f": b"mine", "l/f": b"other"})


@pytest.mark.parametrize("change", ["extra", "gone", "folder", "all", "link"])
def test_a_folder_that_somebody_changed_is_made_anew(blobs: BlobStore, tmp_path: Path, change: str) -> None:
    place, outside = tmp_path / "place", tmp_path / "outside"
    outside.mkdir()
    tree = worktrees.update(place, context({"d/f": b"1", "g": b"1"}, blobs), blobs)
    if change == "extra":
        (tree / "d/strange").write_bytes(b"x")
    elif change == "all":
        shutil.rmtree(tree)
    else:
        shutil.rmtree(tree / "d")
        if change == "folder":
            (tree / "d").write_bytes(b"x")
        elif change == "link":
            (tree / "d").symlink_to(outside)
    worktrees.update(place, context({"d": b"2", "g": b"2"}, blobs), blobs)

    assert on_disk(tree) == expected({"d": b"2", "g": b"2"})
    assert not list(outside.iterdir())


def test_a_chunk_that_is_gone_is_named_and_the_next_context_is_whole(blobs: BlobStore, tmp_path: Path) -> None:
    place = tmp_path / "place"
    worktrees.update(place, context({"a": b"1", "b": b"1"}, blobs), blobs)
    with pytest.raises(HudError, match=r"the chunk [0-9a-f]{64} of the context is gone"):
        worktrees.update(place, context({"a": b"2", "b": b"never stored"}), blobs)
    tree = worktrees.update(place, context({"a": b"3"}, blobs), blobs)

    assert on_disk(tree) == expected({"a": b"3"})


def test_a_stop_is_heard_and_the_next_context_is_whole(blobs: BlobStore, tmp_path: Path) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(GivenUp):
        worktrees.update(tmp_path / "place", context(FIRST, blobs), blobs, stop)

    assert on_disk(worktrees.update(tmp_path / "place", context(FIRST, blobs), blobs)) == expected(FIRST)


def test_a_full_disk_is_said_so(blobs: BlobStore, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=False).returncode != 0:
        pytest.skip("a disk that fills up has to be mounted, which needs root")
    try:
        with pytest.raises(HudError, match="the platform's disk is full") as refused:
            worktrees.update(place, context({"big": bytes(2**22)}, blobs), blobs)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
    assert refused.value.hint == "hud platform gc removes what nothing needs any more"


def test_a_path_that_fits_no_disk_below_the_data_folder_is_said_so(blobs: BlobStore, tmp_path: Path) -> None:
    path = "/".join([*["n" * 200] * 20, "n" * 70])
    with pytest.raises(HudError, match="a path of the context is too long for the platform's disk"):
        worktrees.update(tmp_path / "place", context({path: b""}, blobs), blobs)


_FLIP = """
import sys
from pathlib import Path
from hud.context import manifest as manifests
from hud_platform.contexts import worktrees
from hud_platform.contexts.blobs import open_blobs
from hud_platform.config import PlatformConfig
from hud_platform.storage.data_folder import open_folder

data, names = Path(sys.argv[1]), sys.argv[2:]
blobs = open_blobs(PlatformConfig(data=data), open_folder(data))
wanted = [manifests.decode((data / name).read_bytes()) for name in names]
print("ready", flush=True)
while True:
    for manifest in wanted:
        worktrees.update(data / "place", manifest, blobs)
"""


def numbered(seed: int) -> Tree:
    """Give a tree of some hundred files, folders and links that trees of other seeds share in part."""
    choose = random.Random(seed)
    tree: Tree = {}
    for number in range(300):
        kind = choose.random()
        name = f"d{number % 7}/{number}"
        if kind < 0.7:
            tree[name] = b"%d" % choose.randrange(2) * 100
        elif kind < 0.8:
            tree[name] = f"{number - 1}"
        elif kind < 0.9:
            tree[f"{name}/inside"] = b"x"
    return tree


@pytest.mark.slow
def test_a_kill_at_any_moment_leads_to_the_right_tree(blobs: BlobStore, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        (tmp_path / str(seed)).write_bytes(context(numbered(seed), blobs).encode())
    choose = random.Random(int.from_bytes(os.urandom(4)))
    for _ in range(30):
        flipping = subprocess.Popen(
            [sys.executable, "-c", _FLIP, tmp_path, "1", "2", "3"], stdout=subprocess.PIPE, cwd=bench.ROOT
        )
        assert flipping.stdout is not None
        flipping.stdout.readline()
        time.sleep(choose.uniform(0, 0.15))
        flipping.send_signal(signal.SIGKILL)
        flipping.communicate()
        seed = choose.choice((1, 2, 3))
        tree = worktrees.update(tmp_path / "place", context(numbered(seed)), blobs)
        assert on_disk(tree) == expected(numbered(seed))


async def test_an_archive_and_a_context_take_turns_in_one_folder(tmp_path: Path) -> None:
    environment_id, build_id = uuid.uuid4(), uuid.uuid4()
    async with open_backend(PlatformConfig(data=tmp_path / "data")) as backend:
        wanted = context({"a": b"1", "old": b"x"}, backend.blobs)
        await contexts.register(backend, wanted.encode())
        (backend.data.uploads / f"{build_id}.tar.gz").write_bytes(packed(member("a", b"2", mode=0o644), link("l", "a")))
        for _ in range(2):
            tree = await worktrees.from_context(backend, environment_id, wanted.digest)
            assert on_disk(tree) == expected({"a": b"1", "old": b"x"})
            assert await worktrees.from_archive(backend, environment_id, build_id) == tree
            assert on_disk(tree) == expected({"a": b"2", "l": "a"})


async def test_what_cannot_be_built_is_told_by_name(tmp_path: Path) -> None:
    environment_id, build_id = uuid.uuid4(), uuid.uuid4()
    async with open_backend(PlatformConfig(data=tmp_path / "data")) as backend:
        with pytest.raises(NotFoundError, match=f"the context archive of build {build_id} is gone"):
            await worktrees.from_archive(backend, environment_id, build_id)
        with pytest.raises(NotFoundError, match=r"no context has the digest 'f+'"):
            await worktrees.from_context(backend, environment_id, "f" * 64)
        (backend.data.uploads / f"{build_id}.tar.gz").write_bytes(packed(member("../x")))
        with pytest.raises(UsageError, match=r"holds '\.\./x', which leads out of it"):
            await worktrees.from_archive(backend, environment_id, build_id)


async def test_a_cancelled_build_has_stopped_writing_when_its_cancellation_is_over(tmp_path: Path) -> None:
    async with open_backend(PlatformConfig(data=tmp_path / "data")) as backend:
        wanted = context({f"{number}": b"x" * number for number in range(1, 3000)}, backend.blobs)
        await contexts.register(backend, wanted.encode())
        environment_id = uuid.uuid4()
        building = asyncio.create_task(worktrees.from_context(backend, environment_id, wanted.digest))
        tree = backend.data.contexts / str(environment_id) / "tree"
        while not (tree / "1").exists():  # noqa: ASYNC110  # a file tells nobody that it is there
            await asyncio.sleep(0.001)
        building.cancel()
        await asyncio.wait([building])
        count = len(list(tree.iterdir()))
        await asyncio.sleep(0.2)

        assert building.cancelled()
        assert len(list(tree.iterdir())) == count < 2999


def built(folder: Path, tag: str) -> bytes:
    """Build a folder and give what its image has in `/f`."""
    client = bench.require_docker()
    variables = {**os.environ, "DOCKER_BUILDKIT": "1"}
    subprocess.run([client, "build", "-q", "-t", tag, folder], check=True, capture_output=True, env=variables)
    return subprocess.run([client, "run", "--rm", tag, "cat", "/f"], check=True, capture_output=True).stdout


def removed(tag: str) -> None:
    subprocess.run([bench.require_docker(), "image", "rm", "--force", tag], check=False, capture_output=True)


@pytest.mark.docker
async def test_a_build_sees_a_change_that_keeps_a_files_size_and_time(tmp_path: Path) -> None:
    """BuildKit would not: it takes a file whose size and time it has seen for the one that it has."""
    environment_id, tag = uuid.uuid4(), f"hud-test-{uuid.uuid4().hex[:12]}"
    dockerfile = f"FROM {bench.base_image()}\nCOPY f /f\n".encode()
    try:
        async with open_backend(PlatformConfig(data=tmp_path / "data")) as backend:
            for content in (b"1", b"2"):
                wanted = context({"Dockerfile": dockerfile, "f": content}, backend.blobs)
                await contexts.register(backend, wanted.encode())
                tree = await worktrees.from_context(backend, environment_id, wanted.digest)
                assert built(tree, tag) == content
            for content in (b"3", b"4"):
                build_id = uuid.uuid4()
                archive = packed(member("Dockerfile", dockerfile), member("f", content, mtime=315619200))
                (backend.data.uploads / f"{build_id}.tar.gz").write_bytes(archive)
                tree = await worktrees.from_archive(backend, environment_id, build_id)
                assert built(tree, tag) == content
    finally:
        removed(tag)
