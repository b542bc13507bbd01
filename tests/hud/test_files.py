"""Files that are replaced whole or not at all."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hud import files
from hud.errors import HudError

FULL = """
import resource, sys
from pathlib import Path
from hud import files
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
files.replace(Path(sys.argv[1]), b"x" * 11)
"""
COUNTING = """
import sys
from pathlib import Path
from hud import files
path = Path(sys.argv[1])
for _ in range(50):
    with files.locked(path.parent):
        files.replace(path, str(int(path.read_bytes()) + 1).encode())
"""


def test_a_file_is_made_and_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.replace(path, b"one", mode=0o600)
    files.replace(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*tmp_path.iterdir()] == [path]


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HudError) as caught:
        files.replace(tmp_path / "no" / "file", b"")
    assert str(caught.value) == f"cannot write {tmp_path / 'no' / 'file'}: No such file or directory"


def test_a_disk_that_is_full_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True)
    assert f"hud.errors.HudError: cannot write {path}: File too large" in done.stderr
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_processes_that_lock_lose_no_change(tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_bytes(b"0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNTING, path]) for _ in range(4)]
    assert [process.wait(timeout=50) for process in processes] == [0] * 4
    assert path.read_bytes() == b"200"


def test_a_folder_that_cannot_be_locked_lets_everybody_in(tmp_path: Path) -> None:
    with files.locked(tmp_path / "nowhere"):
        pass
