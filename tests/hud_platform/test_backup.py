"""Backup and restore: one file, of one moment, put back whole or not at all."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hud.errors import HudError, NotFoundError, UsageError
from hud_platform.storage.backup import back_up, restore
from hud_platform.storage.data_folder import DataFolder, FolderInUse, open_folder
from tests.platform_process import PlatformProcess

Fresh = Callable[..., PlatformProcess]


def test_a_platform_comes_back_from_a_backup_taken_while_it_ran(fresh_platform: Fresh, tmp_path: Path) -> None:
    platform = fresh_platform()
    project = platform.client.post("/v2/projects", json={"name": "kept"}).json()
    (platform.data / "blobs" / "ab").mkdir()
    (platform.data / "blobs" / "ab" / "blob").write_bytes(b"content")
    me = platform.client.get("/v2/auth/me").json()
    back_up(DataFolder(root=platform.data), tmp_path / "backup.tar")
    restore(tmp_path / "backup.tar", tmp_path / "elsewhere")
    again = fresh_platform(data=tmp_path / "elsewhere")

    assert again.key == platform.key
    assert again.client.get("/v2/auth/me").json() == me
    assert again.client.get(f"/v2/projects/{project['id']}").json() == project
    assert (tmp_path / "elsewhere" / "blobs" / "ab" / "blob").read_bytes() == b"content"


def test_a_backup_under_writes_is_of_one_moment(fresh_platform: Fresh, tmp_path: Path) -> None:
    platform = fresh_platform()
    ends = threading.Event()
    made: list[str] = []

    def write() -> None:
        while not ends.is_set():
            made.append(platform.client.post("/v2/projects", json={"name": f"p{len(made)}"}).json()["id"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            back_up(DataFolder(root=platform.data), tmp_path / f"{number}.tar")
    finally:
        ends.set()
        writer.join()
    restore(tmp_path / "4.tar", tmp_path / "restored")
    again = fresh_platform(data=tmp_path / "restored")
    names = {record["id"] for record in again.client.get("/v2/projects").json()["items"] if not record["is_default"]}

    assert names == set(made[: len(names)])  # the first ones, without a gap


def test_the_file_is_its_owners_alone_and_written_whole(platform: PlatformProcess, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar"
    made = back_up(DataFolder(root=platform.data), target)

    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["backup.tar"]
    with tarfile.open(target) as archive:
        names = archive.getnames()
    assert names[0] == "hud-platform.json"
    assert len(names) == made.files + 1
    assert {"platform.sqlite", "keys/encryption.key", "keys/admin.key"} <= set(names)
    assert not {"lock", "server.json", "server.log"} & set(names)


def test_a_folder_with_something_in_it_is_refused(platform: PlatformProcess, tmp_path: Path) -> None:
    back_up(DataFolder(root=platform.data), tmp_path / "backup.tar")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("keep")

    with pytest.raises(UsageError, match="data is not empty") as refused:
        restore(tmp_path / "backup.tar", tmp_path / "data")
    assert refused.value.hint == "--force replaces what is in it; or --data with another"
    restore(tmp_path / "backup.tar", tmp_path / "data", force=True)
    assert (tmp_path / "data" / "mine").read_text() == "keep"  # what is not the platform's stays


def test_the_folder_of_a_running_server_is_refused(platform: PlatformProcess, tmp_path: Path) -> None:
    back_up(DataFolder(root=platform.data), tmp_path / "backup.tar")

    with pytest.raises(FolderInUse, match=str(platform.pid)):
        restore(tmp_path / "backup.tar", platform.data, force=True)
    assert platform.client.get("/v2/auth/me").status_code == 200


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def spoilt(content: bytes) -> bytes:
    place = content.index(b"SQLite format 3")
    return content[:place] + b"\0" * 4096 + content[place + 4096 :]


def archive_of(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


DESCRIPTION = json.dumps({"format": 1, "version": "1", "created_at": "now", "files": 1}).encode()
NEWER = json.dumps({"format": 2, "version": "9", "created_at": "now", "files": 1}).encode()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "cannot be restored|cannot be read"),
        (spoilt, "cannot be restored"),
        (lambda _: b"", "cannot be read as a backup"),
        (lambda _: b"x" * 100_000, "cannot be read as a backup"),
        (lambda _: archive_of(("other", b"")), "is no backup of a platform"),
        (lambda _: archive_of(("hud-platform.json", b"{")), "is no backup of a platform"),
        (lambda _: archive_of(("hud-platform.json", NEWER)), "is a backup of format 2, made by version 9"),
        (lambda _: archive_of(("hud-platform.json", DESCRIPTION), ("../evil", b"x")), "cannot be restored"),
        (lambda _: archive_of(("hud-platform.json", DESCRIPTION), ("/tmp/evil", b"x")), "cannot be restored"),
        (lambda _: archive_of(("hud-platform.json", DESCRIPTION)), "the database or the encryption key is missing"),
    ],
    ids=["cut", "spoilt", "empty", "noise", "tar", "json", "newer", "climbing", "absolute", "bare"],
)
def test_what_is_no_whole_backup_changes_nothing(
    platform: PlatformProcess, tmp_path: Path, spoil: Callable[[bytes], bytes], message: str
) -> None:
    back_up(DataFolder(root=platform.data), tmp_path / "good.tar")
    (tmp_path / "bad.tar").write_bytes(spoil((tmp_path / "good.tar").read_bytes()))
    restore(tmp_path / "good.tar", tmp_path / "data")
    before = (tmp_path / "data" / "platform.sqlite").read_bytes()

    with pytest.raises(HudError, match=message):
        restore(tmp_path / "bad.tar", tmp_path / "data", force=True)
    assert (tmp_path / "data" / "platform.sqlite").read_bytes() == before
    assert not (tmp_path / "data" / "restoring").exists()
    assert not (tmp_path / "evil").exists()


def test_a_restore_that_was_cut_off_is_begun_again(tmp_path: Path, platform: PlatformProcess) -> None:
    from hud_platform.storage.data_folder import refuse_half_restored

    folder = open_folder(tmp_path / "data")
    folder.restoring.mkdir()
    with pytest.raises(HudError, match="was cut off"):
        refuse_half_restored(folder)
    back_up(DataFolder(root=platform.data), tmp_path / "backup.tar")
    restore(tmp_path / "backup.tar", folder.root, force=True)
    refuse_half_restored(folder)


def test_there_has_to_be_something_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no database to back up"):
        back_up(open_folder(tmp_path / "data"), tmp_path / "backup.tar")


def test_a_place_that_cannot_be_written_is_named(platform: PlatformProcess, tmp_path: Path) -> None:
    with pytest.raises(HudError, match=r"cannot back up to .*missing/backup\.tar: No such file or directory"):
        back_up(DataFolder(root=platform.data), tmp_path / "missing" / "backup.tar")
