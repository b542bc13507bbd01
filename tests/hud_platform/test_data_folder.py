"""The data folder: its owner's alone, one server at a time, whatever is in its name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hud.errors import HudError
from hud_platform.storage.data_folder import FolderInUse, holder, lock, open_folder
from tests.platform_process import PlatformProcess


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")

    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert all(place.stat().st_mode & 0o077 == 0 for place in folder.folders)


def test_an_open_folder_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)

    assert open_folder(tmp_path / "data").root.stat().st_mode & 0o777 == 0o700


def test_a_second_server_is_refused_and_told_the_first_ones_process(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")
    with lock(folder):
        assert holder(folder) == os.getpid()
        with pytest.raises(FolderInUse, match=rf"process {os.getpid()}\) has the data folder") as refused, lock(folder):
            pass
    assert refused.value.pid == os.getpid()
    assert refused.value.hint == "hud platform down, or --data with another folder"
    assert holder(folder) is None


def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")
    program = (
        "import sys, time; from pathlib import Path; from hud_platform.storage.data_folder import lock, open_folder\n"
        "with lock(open_folder(Path(sys.argv[1]))):\n    print('has it', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, folder.root], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"has it\n"
        assert holder(folder) == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert holder(folder) is None
    with lock(folder):
        assert holder(folder) == os.getpid()


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(HudError, match=r"the data folder .*data cannot be written: File exists"):
        open_folder(tmp_path / "data")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder that nobody may write")
def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(HudError, match=r"the data folder /proc/hud cannot be written") as refused:
        open_folder(Path("/proc/hud"))
    assert refused.value.hint == "choose another place with --data"


@pytest.mark.parametrize("name", ["データ folder", "100% #?&", "ümläut'\""])
def test_any_name_will_do(fresh_platform: Callable[..., PlatformProcess], tmp_path: Path, name: str) -> None:
    platform = fresh_platform(data=tmp_path / name)

    assert platform.client.get("/v2/auth/me").status_code == 200
    assert platform.stop() == 0
    assert (tmp_path / name / "platform.sqlite").is_file()
    assert (tmp_path / name / "dbos.sqlite").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_killed_at_any_moment_it_starts_again(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    made = [platform.client.post("/v2/projects", json={"name": f"p{number}"}).json()["id"] for number in range(20)]
    platform.stop(signal.SIGKILL)
    platform.start()

    assert all(platform.client.get(f"/v2/projects/{project_id}").status_code == 200 for project_id in made)


@pytest.mark.slow
def test_killed_while_it_makes_its_tables_it_starts_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hud_cli", "platform", "up", "--port", "0", "--json", "--no-settings"]
    for tenth in range(6):
        data = tmp_path / str(tenth)
        with subprocess.Popen([*command, "--data", data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
            with pytest.raises(subprocess.TimeoutExpired):
                first.wait(0.3 + tenth / 10)
            first.kill()
        platform = PlatformProcess(data=data, home=tmp_path / "home")
        try:
            assert platform.start().client.get("/ready").json()["database"] == "ok"
        finally:
            platform.close()


def test_a_damaged_description_of_the_server_does_no_harm(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    platform.stop()
    (platform.data / "server.json").write_text('{"url": ')
    platform.start()

    assert platform.client.get("/health").status_code == 200


def test_what_a_server_says_of_itself_goes_with_it(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    assert (platform.data / "server.json").stat().st_mode & 0o777 == 0o600
    platform.stop()

    assert not (platform.data / "server.json").exists()


def test_a_database_that_is_none_is_named(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    platform.stop()
    for name in ("platform.sqlite", "platform.sqlite-wal", "platform.sqlite-shm"):
        (platform.data / name).unlink(missing_ok=True)
    (platform.data / "platform.sqlite").write_bytes(b"this is no database" * 100)
    command = [sys.executable, "-m", "hud_cli", "platform", "up", "--port", "0", "--no-settings", "--data"]
    done = subprocess.run([*command, platform.data], capture_output=True, text=True)

    assert done.returncode == 1
    assert "platform.sqlite cannot be opened: file is not a database" in done.stderr
    assert "Hint: hud platform restore FILE --force" in done.stderr
