"""Completions: the shipped files are what the tree gives, and real shells offer what users expect."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pexpect  # type: ignore[import-untyped]
import pytest

from hud.platform.records import Scope
from hud_cli import init
from hud_cli.completion import FILE_NAMES, Shell, script
from hud_cli.completion.model import CHOICES, nodes
from tests import bench
from tests.hud_cli.conftest import Hud

COMPLETIONS = bench.ROOT / "completions"
DOCKER = """#!/bin/sh
case "$*" in
    "ps --format"*) echo run1 ;;
    "image ls"*) echo my-env:latest; echo my-env:two ;;
    "exec run1 hud task list --quiet") echo inside-1 ;;
esac
"""


def require(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        bench.missing(f"{shell} is not installed: apt-get install {shell}")
    return path


@pytest.fixture
def folder(source: Path) -> Path:
    """The source folder, plain, with names that shells stumble over; a docker command of our own is beside it."""
    (source / "env.py").write_text(
        "from hud import Environment\nenv = Environment('e')\n"
        "@env.template()\nasync def t(a: int = 1):\n    yield 'p'\n    yield 1\n"
    )
    (source / "tasks.py").write_text(
        "from env import t\nrows = [t(), t(a=2), t(a=3), t(a=4)]\n"
        "for row, slug in zip(rows, ['fix-one', 'fix-two', 'odd name', 'bad$(touch hacked)']):\n    row.slug = slug\n"
    )
    (source / "other.json").write_text('[{"env": "e", "id": "t", "slug": "from-json"}]')
    (source / "notes.txt").write_text("")
    (source / "sub").mkdir()
    binaries = source.parent / "bin"
    binaries.mkdir()
    (binaries / "docker").write_text(DOCKER)
    (binaries / "docker").chmod(0o755)
    (binaries / "hud").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hud_cli "$@"\n')
    (binaries / "hud").chmod(0o755)
    return source


@pytest.fixture
def environment(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    path = os.pathsep.join([str(folder.parent / "bin"), variables["PATH"]])
    return {**variables, "PATH": path, "TERM": "dumb", "PYTHONPATH": str(bench.ROOT)}


# What is typed, and what is offered. An offer that is alone is typed for the user.
CASES = [
    ("hud ta", {"task"}),
    ("hud task ", {"list", "start", "grade", "run"}),
    ("hud task sta", {"start"}),
    ("hud task start fix", {"fix-one", "fix-two"}),
    ("hud task start -s other.json f", {"from-json"}),
    ("hud task start --source other.json f", {"from-json"}),
    ("hud task grade --source=other.json f", {"from-json"}),
    ("hud task grade --answer fix fix", {"fix-one", "fix-two"}),
    ("hud task grade --container r", {"run1"}),
    ("hud task grade --container run1 i", {"inside-1"}),
    ("hud task run --image my", {"my-env:latest", "my-env:two"}),
    ("hud init --template ", set(CHOICES["TEMPLATE"])),
    ("hud init -t g", {"gpu"}),
    ("hud completion install ", {"bash", "zsh", "fish"}),
    ("hud task start --sou", {"--source"}),
    ("hud serve --w", {"--watch"}),
    ("hud serve e", {"env.py"}),
    ("hud deploy --env-file e", {"env.py"}),
    ("hud deploy --runtime ", {"hud", "modal"}),
    ("hud platform key cr", {"create"}),
    ("hud platform key create --sc", {"--scope"}),
    ("hud platform key create --scope ", {"read", "write", "admin"}),
    ("hud sync tasks my-taskset t", {"tasks.py"}),
]


@pytest.mark.parametrize("shell", list(Shell))
def test_the_shipped_files_are_what_the_tree_gives(shell: Shell) -> None:
    """Mend it with: python -m hud_cli.completion"""
    assert (COMPLETIONS / FILE_NAMES[shell]).read_text() == script(shell)


def test_known_values_are_the_real_ones() -> None:
    assert set(CHOICES["TEMPLATE"]) == set(init.templates())
    assert CHOICES["SHELL"] == tuple(shell.value for shell in Shell)
    assert CHOICES["SCOPE"] == get_args(Scope)


def test_every_option_of_every_command_is_in_every_script() -> None:
    for shell in Shell:
        text = script(shell)
        for node in nodes():
            for flag in node.flags:
                for name in flag.names:
                    assert (name if shell is not Shell.fish else name.lstrip("-")) in text


def bash_offers(line: str, *, folder: Path, environment: dict[str, str]) -> set[str]:
    """Type a line and press Tab in an interactive bash; give what the line became, or what was listed."""
    terminal = pexpect.spawn(
        require("bash"), ["--norc", "--noprofile", "-i"], env=environment, cwd=str(folder), encoding="utf-8",
        timeout=15, dimensions=(60, 200),
    )  # fmt: skip
    terminal.sendline(
        "PS1=@@; bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; "
        f"bind 'set completion-display-width 0'; . '{COMPLETIONS / 'hud.bash'}'; echo rea''dy"
    )
    terminal.expect("ready\r\n@@")
    terminal.send(line + "\t")
    shown = settled(terminal, line)
    terminal.close(force=True)
    return offers(shown, line)


def zsh_offers(line: str, *, folder: Path, environment: dict[str, str]) -> set[str]:
    terminal = pexpect.spawn(
        require("zsh"), ["-f", "-i"], env=environment, cwd=str(folder), encoding="utf-8", timeout=15,
        dimensions=(60, 200),
    )  # fmt: skip
    terminal.sendline(
        f"unsetopt zle_bracketed_paste prompt_cr prompt_sp; PROMPT=@@; fpath=('{COMPLETIONS}' $fpath); "
        "autoload -Uz compinit && compinit -u -D; zstyle ':completion:*' verbose no; LISTMAX=1000; setopt no_auto_menu "
        "no_list_ambiguous no_always_last_prompt list_rows_first; zstyle ':completion:*' list-packed no; echo rea''dy"
    )
    terminal.expect("ready\r\n")
    terminal.expect("@@")
    terminal.send(line + "\t")
    shown = settled(terminal, line)
    terminal.close(force=True)
    return offers(shown, line)


def fish_offers(line: str, *, folder: Path, environment: dict[str, str]) -> set[str]:
    script = f"source '{COMPLETIONS / 'hud.fish'}'; complete -C \"$argv\""
    done = subprocess.run(
        [require("fish"), "--no-config", "-c", script, line],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return {row.partition("\t")[0] for row in done.stdout.splitlines()}


def settled(terminal: pexpect.spawn, line: str) -> str:
    """Read what comes after the echo of the typed line, until the terminal is quiet; six seconds at most."""
    text = ""
    begun = quiet_since = time.monotonic()
    while time.monotonic() - begun < 6.0:
        try:
            text += terminal.read_nonblocking(65536, timeout=0.1)
            quiet_since = time.monotonic()
        except pexpect.TIMEOUT:
            if len(text) > len(line) and time.monotonic() - quiet_since > 0.4:
                break
    return text


def offers(shown: str, line: str) -> set[str]:
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|[\x00\x07]", "", shown).replace("\r", "")
    first, *listed = shown.split("\n")
    if not any(row.strip() and not row.startswith("@@") for row in listed):
        while "\b" in first:  # zsh takes back the blank that it put behind a word
            first = re.sub(r"[^\b]\b", "", first, count=1) if re.search(r"[^\b]\b", first) else first.replace("\b", "")
        word = first.rstrip().rpartition(" ")[2]
        return {word.rpartition("=")[2] if word.startswith("-") and "=" in word[:-1] else word.rstrip("=")}
    return {word for row in listed if not row.startswith("@@") for word in row.split()}


OFFERS = {Shell.bash: bash_offers, Shell.zsh: zsh_offers, Shell.fish: fish_offers}


@pytest.mark.parametrize("shell", list(Shell))
@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line for line, _ in CASES])
def test_a_real_shell_offers(
    folder: Path, environment: dict[str, str], shell: Shell, line: str, expected: set[str]
) -> None:
    assert OFFERS[shell](line, folder=folder, environment=environment) == expected


@pytest.mark.parametrize("shell", list(Shell))
def test_sources_are_task_files_and_folders(folder: Path, environment: dict[str, str], shell: Shell) -> None:
    offered = {name.rstrip("/") for name in OFFERS[shell]("hud task list -s ", folder=folder, environment=environment)}
    assert offered - {"__pycache__"} == {"env.py", "tasks.py", "other.json", "sub"}


@pytest.mark.parametrize("shell", list(Shell))
def test_a_slug_is_never_run(folder: Path, environment: dict[str, str], shell: Shell) -> None:
    OFFERS[shell]("hud task start bad", folder=folder, environment=environment)
    assert not (folder / "hacked").exists()


@pytest.mark.parametrize("shell", list(Shell))
def test_a_broken_source_offers_nothing_and_says_nothing(
    folder: Path, environment: dict[str, str], shell: Shell
) -> None:
    (folder / "tasks.py").write_text("def f(:\n")
    offered = OFFERS[shell]("hud task start zz", folder=folder, environment=environment)
    assert offered <= {"zz"}


@pytest.mark.parametrize(
    ("shell", "files"),
    [
        ("bash", {".local/share/bash-completion/completions/hud"}),
        ("zsh", {".zfunc/_hud", ".zshrc"}),
        ("fish", {".config/fish/completions/hud.fish"}),
    ],
)
def test_install_writes_to_the_users_place_once(
    hud: Hud, variables: dict[str, str], shell: str, files: set[str]
) -> None:
    home = Path(variables["HOME"])
    (home / ".bashrc").write_text("alias x=y")
    (home / ".zshrc").write_text("setopt nobeep\n")
    done = hud("completion", "install", shell)
    assert (done.code, done.out) == (0, "")
    for name in files:
        assert f"Wrote {home / name}\n" in done.err
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    again = hud("completion", "install", shell)
    assert again.err == f"The {shell} completions are installed and up to date.\n"
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert (home / ".zshrc").read_text().startswith("setopt nobeep\n")
    assert json.loads(hud("completion", "install", shell, "--json").out) == {"shell": shell, "written": []}


def test_installed_zsh_completions_work_in_a_new_shell(hud: Hud, folder: Path, environment: dict[str, str]) -> None:
    hud("completion", "install", "zsh")
    terminal = pexpect.spawn(
        require("zsh"), ["-i"], env=environment, cwd=str(folder), encoding="utf-8", timeout=15, dimensions=(60, 200)
    )
    terminal.sendline("PROMPT=@@; unsetopt zle_bracketed_paste; echo rea''dy")
    terminal.expect("ready\r\n")
    terminal.send("hud task sta\t")
    assert "start" in settled(terminal, "hud task sta")
    terminal.close(force=True)


def test_show_prints_the_script_of_the_users_shell(hud: Hud) -> None:
    assert hud("completion", "show", "fish").out == script(Shell.fish)
    assert hud("completion", "show", SHELL="/usr/bin/zsh").out == script(Shell.zsh)
    unknown = hud("completion", "show", SHELL="/bin/tcsh")
    assert (unknown.code, unknown.out) == (2, "")
    assert "Error: $SHELL is 'tcsh': name the shell\nHint: hud completion install bash\n" in unknown.err
    assert hud("completion", "show", "tcsh").code == 2
