"""Which command runs, and how every kind of end becomes an exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hud.version import __version__
from hud_cli.commands import WORKSTATION
from tests.hud_cli.conftest import Hud

# Only the standard library and this project: what an image has.
WITHOUT_DEPENDENCIES = [
    sys.executable,
    "-S",
    "-c",
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from hud_cli.main import main; sys.exit(main())",
    str(Path(__file__).parents[2]),
]


def in_image(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WITHOUT_DEPENDENCIES, *words], cwd=cwd, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_the_version_line_goes_to_stdout(hud: Hud, words: list[str]) -> None:
    done = hud(*words)
    assert (done.code, done.out, done.err) == (0, f"HUD CLI version: {__version__}\n", "")


def test_the_version_as_json(hud: Hud) -> None:
    assert json.loads(hud("version", "--json").out) == {"version": __version__}


def test_help_lists_every_command(hud: Hud) -> None:
    done = hud("--help")
    assert done.code == 0
    for name in ("init", "serve", "task", "doctor", "cleanup", "completion", "version"):
        assert f"\n  {name} " in done.out


def test_no_command_is_a_usage_error_that_shows_help(hud: Hud) -> None:
    for words in ([], ["task"], ["client"]):
        done = hud(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("Usage: hud")


def test_an_unknown_command_suggests_a_close_one(hud: Hud) -> None:
    done = hud("task", "strat", "x")
    assert done.code == 2
    assert done.err == (
        "Usage: hud task COMMAND [ARGS]...\nError: no such command: hud task strat\nHint: did you mean start?\n"
    )
    done = hud("dokter")
    assert done.code == 2
    assert "Error: no such command 'dokter'" in done.err


def test_a_usage_error_shows_the_usage_line_of_its_command(hud: Hud) -> None:
    assert hud("task", "start", "--nope").err.startswith(
        "Usage: hud task start [OPTIONS] TASK\nError: no such option: --nope"
    )
    # Typer's releases word the rest differently.
    assert re.match(r"Usage: hud init \[OPTIONS\] \[?NAME\]?\nError: no such option", hud("init", "--nope").err)


def test_an_image_has_the_served_commands_and_names_the_others(source: Path) -> None:
    done = in_image("--help", cwd=source)
    assert done.returncode == 0
    assert "serve" in done.stdout
    names = ", ".join(WORKSTATION)
    assert f"{names}: with `pip install hud-cli`" in done.stdout.replace("\n", " ")
    assert in_image("--version", cwd=source).stdout == f"HUD CLI version: {__version__}\n"
    assert in_image("task", "list", "-q", cwd=source).stdout.splitlines()[-1] == "echo"


def test_an_image_says_which_install_brings_a_command(source: Path) -> None:
    done = in_image("init", "x", cwd=source)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: hud init needs packages that are not installed here (typer and others)\n"
        "Hint: it is a workstation's command: pip install hud-cli, with its dependencies\n"
    )
    done = in_image("srve", cwd=source)
    assert (done.returncode, done.stderr.splitlines()[1:]) == (
        2,
        ["Error: no such command: srve", "Hint: did you mean serve?"],
    )


def test_an_error_as_json_is_one_document_on_stdout(hud: Hud) -> None:
    done = hud("task", "list", "-s", "nowhere", "--json")
    assert (done.code, done.err) == (1, "")
    assert json.loads(done.out) == {"error": "not_found", "message": "no such file or folder: nowhere"}


def test_json_after_a_double_dash_is_no_option(hud: Hud) -> None:
    done = hud("task", "list", "--", "--json")
    assert (done.code, done.out) == (2, "")


def test_a_defect_is_one_line_and_its_traceback_is_for_who_asks(hud: Hud, source: Path) -> None:
    # A hostile object in the author's tasks makes our own code fail where no error is expected.
    (source / "tasks.py").write_text(
        "from env import add\nrow = add(a=1)\n"
        "class Bad(str):\n    def __format__(self, spec): raise ZeroDivisionError('hm')\n"
        "row.slug = Bad('x')\n"
    )
    done = hud("task", "list", "-s", "tasks.py")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("Error: ZeroDivisionError: hm\nHint: set HUD_DEBUG=1 to see where it comes from\n")
    assert "Traceback" not in done.err
    assert "Traceback" in hud("task", "list", "-s", "tasks.py", HUD_DEBUG="1").err


def test_a_closed_pipe_ends_a_command_quietly(hud: Hud, source: Path, variables: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hud_cli", "task", "list", "-s", "tasks.py"],
        cwd=source,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Error" not in process.stderr.read()
    assert process.wait() == 1
    process.stderr.close()


def test_ctrl_c_exits_with_130(source: Path, variables: dict[str, str]) -> None:
    (source / "env.py").write_text("import sys, time\nprint('importing', flush=True)\ntime.sleep(30)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "hud_cli", "task", "list", "-s", "env.py"],
        cwd=source,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"importing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"Interrupted.\n")


def test_the_console_script_and_the_module_are_the_same_command(source: Path) -> None:
    script = Path(sys.executable).with_name("hud")
    by_script = subprocess.run([script, "--version"], capture_output=True, cwd=source)
    by_module = subprocess.run([sys.executable, "-m", "hud_cli", "--version"], capture_output=True, cwd=source)
    assert by_script.stdout == by_module.stdout
    assert os.access(script, os.X_OK)
