"""`hud init`: what it writes, how it is asked, and that a failure leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from hud.errors import HudError
from hud.version import __version__
from hud_cli import init
from tests.hud_cli.conftest import Hud

WHEEL = f"hud_cli-{__version__}-py3-none-any.whl"
FILES = {".dockerignore", "Dockerfile.hud", "README.md", "env.py", "pyproject.toml", "tasks.py", WHEEL}


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_name_makes_a_folder_from_the_blank_template(hud: Hud, tmp_path: Path) -> None:
    done = hud("init", "my-env", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("Made my-env from the template blank: 7 files.")
    assert "docker build -f Dockerfile.hud -t my-env ." in done.err
    assert names(tmp_path / "my-env") == FILES


def test_what_it_wrote_lists_its_tasks(hud: Hud, tmp_path: Path) -> None:
    for template in init.templates():
        assert hud("init", template, "-t", template, cwd=tmp_path).code == 0
        done = hud("task", "list", "-q", cwd=tmp_path / template)
        assert done.code == 0, done.err
        assert done.out


def test_the_environment_is_named_after_the_folder(hud: Hud, tmp_path: Path) -> None:
    assert hud("init", "My Env_1", cwd=tmp_path).code == 0
    folder = tmp_path / "My Env_1"
    assert 'Environment("my-env-1")' in (folder / "env.py").read_text()
    assert 'name = "my-env-1"' in (folder / "pyproject.toml").read_text()
    assert "my_env_1" not in names(folder)
    text = (folder / "README.md").read_text()
    assert "my-env-1" in text
    assert "my-env " not in text


@pytest.mark.parametrize(
    ("name", "expected"), [("My Env-1", "my-env-1"), ("a__b", "a-b"), ("-X-", "x"), ("3D", "3d"), ("é1", "1")]
)
def test_names_are_normalised(name: str, expected: str) -> None:
    assert init.normalised(name) == expected


def test_a_name_without_letters_is_refused(hud: Hud, tmp_path: Path) -> None:
    done = hud("init", "---", "--", cwd=tmp_path)
    assert done.code == 2
    done = hud("init", "--", "--- ", cwd=tmp_path)
    assert done.code == 2
    assert "Error: '--- ' holds no letter or digit to name an environment by\n" in done.err


def test_an_identifier_never_begins_with_a_digit() -> None:
    template = init.templates()["blank"]
    files = init.scaffold(template, "3d")
    assert b'Environment("3d")' in files["env.py"].content


def test_a_template_alone_names_the_folder(hud: Hud, tmp_path: Path) -> None:
    assert hud("init", "--preset", "coding", cwd=tmp_path).code == 0
    assert 'Environment("hud-coding")' in (tmp_path / "hud-coding" / "env.py").read_text()


def test_dir_is_where_the_folder_is_made(hud: Hud, tmp_path: Path) -> None:
    assert hud("init", "x", "--dir", "deep/er", cwd=tmp_path).code == 0
    assert names(tmp_path / "deep" / "er" / "x") == FILES


def test_a_dot_is_the_folder_at_hand(hud: Hud, tmp_path: Path) -> None:
    folder = tmp_path / "Here"
    folder.mkdir()
    assert hud("init", ".", cwd=folder).code == 0
    assert 'Environment("here")' in (folder / "env.py").read_text()


def test_a_folder_that_is_not_empty_needs_force(hud: Hud, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    (folder / "hud_cli-0.0.1-py3-none-any.whl").write_text("old")
    done = hud("init", "x", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err == "Error: x is not empty\nHint: --force writes into it; files of the same names are replaced\n"
    assert hud("init", "x", "--force", cwd=tmp_path).code == 0
    assert names(folder) == FILES | {"mine.txt"}  # an older wheel would be installed beside the new one


def test_a_file_in_the_way_is_told(hud: Hud, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    done = hud("init", "x", "--force", cwd=tmp_path)
    assert (done.code, done.err) == (1, "Error: x is there and is no folder\n")


def test_a_name_is_one_folder(hud: Hud, tmp_path: Path) -> None:
    done = hud("init", "a/b", cwd=tmp_path)
    assert done.code == 2
    assert "Error: NAME is one folder, got 'a/b'\nHint: hud init b --dir a\n" in done.err


def test_an_unknown_template_suggests_a_close_one(hud: Hud, tmp_path: Path) -> None:
    done = hud("init", "x", "-t", "codnig", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("Error: no template named 'codnig'\nHint: did you mean coding?\n")
    assert not (tmp_path / "x").exists()


def test_without_anybody_to_ask_a_name_is_needed(hud: Hud, tmp_path: Path) -> None:
    done = hud("init", cwd=tmp_path)
    assert done.code == 2
    assert done.err.endswith("Error: name the folder to make\nHint: hud init my-env --template blank\n")


def test_dry_run_lists_the_files_and_writes_none(hud: Hud, tmp_path: Path) -> None:
    done = hud("init", "x", "--dry-run", cwd=tmp_path)
    assert done.code == 0
    assert set(done.out.splitlines()) == {f"x/{name}" for name in FILES}
    assert not (tmp_path / "x").exists()


def test_json_says_what_was_made(hud: Hud, tmp_path: Path) -> None:
    made = json.loads(hud("init", "x", "--json", cwd=tmp_path).out)
    assert made == {
        "name": "x", "template": "blank", "path": str(tmp_path / "x"), "files": sorted(FILES), "dry_run": False,
    }  # fmt: skip


def test_list_names_each_template_with_its_own_words(hud: Hud) -> None:
    rows = dict(line.split("\t") for line in hud("init", "--list").out.splitlines())
    assert list(rows) == ["blank", "browser", "coding", "gpu"]
    assert all(rows.values())
    assert [row["name"] for row in json.loads(hud("init", "--list", "--json").out)] == list(rows)


def test_no_template_holds_rubbish_of_its_makers() -> None:
    for folder in init.templates().values():
        files = init.scaffold(folder, "x")
        assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]


def test_executable_files_stay_executable(tmp_path: Path) -> None:
    init.write(tmp_path / "x", {"run.sh": init.File(b"#!/bin/sh\n", True), "a/b": init.File(b"", False)})
    assert stat.S_IMODE((tmp_path / "x" / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "x" / "a" / "b").stat().st_mode) == 0o644


def test_a_failure_removes_what_was_made_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "blocked").write_text("a file where a folder has to go")
    files = {
        "a.txt": init.File(b"a", False),
        "deep/b.txt": init.File(b"b", False),
        "blocked/c.txt": init.File(b"c", False),
    }
    with pytest.raises(HudError, match="cannot write"):
        init.write(tmp_path / "x", files)
    assert names(tmp_path) == {"x/blocked"}
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["blocked"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, variables: dict[str, str]) -> None:
    """A file size limit stands for the full disk: the wheel is the file that does not fit."""
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 100; trap "" XFSZ; exec "$0" -m hud_cli init x', sys.executable],
        cwd=tmp_path, env=variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert not (tmp_path / "x").exists()


def spawn(folder: Path, variables: dict[str, str], *words: str) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable, ["-m", "hud_cli", "init", *words],
        cwd=str(folder), env={**variables, "TERM": "dumb"}, encoding="utf-8", timeout=20,
    )  # fmt: skip


def test_on_a_terminal_a_template_and_a_name_are_asked_for(tmp_path: Path, variables: dict[str, str]) -> None:
    terminal = spawn(tmp_path, variables)
    terminal.expect(r"1  blank ")
    terminal.expect_exact("Template (1-4) [1]: ")
    terminal.sendline("7")
    terminal.expect_exact("'7' is none of them.")
    terminal.expect_exact("Template (1-4) [1]: ")
    terminal.sendline("coding")
    terminal.expect_exact("Name [hud-coding]: ")
    terminal.sendline("picked")
    terminal.expect("Made picked from the template coding")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert (tmp_path / "picked" / "env.py").is_file()


@pytest.mark.parametrize("at", ["Template", "Name"])
def test_ctrl_c_in_the_picker_leaves_nothing(tmp_path: Path, variables: dict[str, str], at: str) -> None:
    terminal = spawn(tmp_path, variables)
    terminal.expect_exact("Template (1-4) [1]: ")
    if at == "Name":
        terminal.sendline("")
        terminal.expect_exact("Name [hud-blank]: ")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert names(tmp_path) == set()


def test_the_end_of_the_input_in_the_picker_is_no_choice(tmp_path: Path, variables: dict[str, str]) -> None:
    terminal = spawn(tmp_path, variables)
    terminal.expect_exact("Template (1-4) [1]: ")
    terminal.sendeof()
    terminal.expect("Error: no template was chosen")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_writing_leaves_nothing(tmp_path: Path, variables: dict[str, str], number: int) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from hud_cli import init\nfrom hud_cli.signals import exit_on_sigterm\nexit_on_sigterm()\n"
        "class Slow(dict):\n    def items(self):\n        for index, item in enumerate(super().items()):\n"
        f"            if index == 3: os.kill(os.getpid(), {int(number)})\n            yield item\n"
        "init.write(Path('x'), Slow(init.scaffold(init.templates()['blank'], 'x')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=variables, capture_output=True)
    assert done.returncode != 0
    assert not os.listdir(tmp_path / "x") if (tmp_path / "x").exists() else True
    assert names(tmp_path) == set()
