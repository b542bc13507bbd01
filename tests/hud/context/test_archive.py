"""The archive of the public flow: equal folders give equal bytes, and every tar reads them (PA-37, weakness 1)."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hud.context import Context, Recipe, digest, scan, write_archive
from hud.context.archive import MTIME_S
from hud.errors import HudError, UsageError
from tests.hud.context.folders import Files

Found = Callable[[Files], Context]
LONG = "d" * 60 + "/" + "é" * 40 + "/" + "n" * 120


def archive(context: Context) -> bytes:
    target = io.BytesIO()
    write_archive(context, target)
    return target.getvalue()


def test_an_archive_holds_files_links_and_empty_folders_in_order(found: Found) -> None:
    context = found({"b/run.sh": "echo", "empty": None, "b/l@": "run.sh", LONG: "long", "l@": LONG})
    (context.root / "b/run.sh").chmod(0o700)
    context = scan(context.root, context.recipe)
    with tarfile.open(fileobj=io.BytesIO(archive(context)), mode="r:gz") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == [entry.path for entry in context.entries]
        assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", MTIME_S)}
        by_name = {member.name: member for member in members}
        assert (by_name["b/run.sh"].mode, by_name["empty"].type, by_name["l"].linkname) == (
            0o755,
            tarfile.DIRTYPE,
            LONG,
        )
        content = tar.extractfile(LONG)
        assert content is not None
        assert content.read() == b"long"


def test_equal_folders_give_equal_bytes(found: Found, tmp_path: Path) -> None:
    context = found({"a/b": "1", "c": "2" * 3_000_000})
    before = archive(context)
    os.utime(context.root / "c", (1, 1))
    assert archive(scan(context.root, context.recipe)) == before
    assert before[:10] == b"\x1f\x8b\x08" + bytes(6) + before[9:10]  # no name, no time


_content = st.binary(max_size=2000) | st.binary(min_size=1, max_size=3).map(lambda part: part * 700_000)
_name = st.text("ab.é-_ ", min_size=1, max_size=130).filter(lambda name: name.strip(".") and len(name.encode()) < 200)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.dictionaries(_name.map(lambda name: f"d/{name}x"), _content, max_size=5))
def test_the_packed_files_are_those_of_the_manifest(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder, unpacked = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("unpacked")
    (folder / "d").mkdir()
    (folder / "Dockerfile").touch()
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    context = scan(folder, Recipe(dockerfile="Dockerfile"))
    with tarfile.open(fileobj=io.BytesIO(archive(context)), mode="r:gz") as tar:
        tar.extractall(unpacked, filter="data")
    assert digest(scan(unpacked, context.recipe)).digest == digest(context).digest


def test_gnu_tar_reads_it(found: Found, tmp_path: Path) -> None:
    context = found({"a": "1", LONG: "2", "l@": "a"})
    listed = subprocess.run(["tar", "-tzf", "-"], input=archive(context), capture_output=True, check=True)
    assert len(listed.stdout.splitlines()) == len(context.entries)


def test_source_date_epoch_sets_the_time(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    context = found({})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1577836800")
    with tarfile.open(fileobj=io.BytesIO(archive(context)), mode="r:gz") as tar:
        assert {member.mtime for member in tar} == {1577836800}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match=r"^SOURCE_DATE_EPOCH is no number of seconds: 'yesterday'$"):
        archive(context)


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_file_that_changes_while_it_is_packed_stops_it(found: Found, size: int) -> None:
    context = found({"file": bytes(size)})
    os.truncate(context.root / "file", size - 1)
    with pytest.raises(HudError, match=r"^file changed while it was read$"):
        archive(context)
