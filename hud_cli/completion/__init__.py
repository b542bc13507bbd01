"""`hud completion`: print or install the completions of a shell.

The scripts are made from the command tree. `python -m hud_cli.completion` writes them into the checkout's
completions/, and a test fails when those are not what the tree gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, assert_never

import typer

from hud.errors import HudError, UsageError
from hud_cli import output

__all__ = ["FILE_NAMES", "Shell", "app", "script"]

app = typer.Typer(
    name="completion",
    help="Print or install shell completions.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


class Shell(StrEnum):
    """A shell that has completions."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


FILE_NAMES = {Shell.bash: "hud.bash", Shell.zsh: "_hud", Shell.fish: "hud.fish"}

_BEGIN, _END = "# >>> hud completion >>>", "# <<< hud completion <<<"
_BASH_COMPLETION = (
    "/usr/share/bash-completion/bash_completion",
    "/usr/local/share/bash-completion/bash_completion",
    "/opt/homebrew/etc/profile.d/bash_completion.sh",
    "/usr/local/etc/profile.d/bash_completion.sh",
)

_SHELL = typer.Argument(metavar="SHELL", help="bash, zsh or fish; by default the one of $SHELL.")
_JSON = typer.Option("--json", help="Print one JSON document, errors included.")


@app.command()
def show(
    shell: Annotated[Shell | None, _SHELL] = None,
    json: Annotated[bool, _JSON] = False,
) -> int:
    """Print the completion script of a shell."""
    shell = shell or _current_shell()
    text = script(shell)
    if json:
        output.document({"shell": shell.value, "script": text})
    else:
        output.data(text)
    return 0


@app.command()
def install(
    shell: Annotated[Shell | None, _SHELL] = None,
    json: Annotated[bool, _JSON] = False,
) -> int:
    """Install the completions for this user; doing it again changes nothing."""
    shell = shell or _current_shell()
    try:
        written = _INSTALLERS[shell](script(shell))
    except OSError as error:
        raise HudError(f"cannot write {error.filename or 'the completions'}: {error.strerror}") from error
    if json:
        output.document({"shell": shell.value, "written": [str(path) for path in written]})
        return 0
    for path in written:
        output.note(f"Wrote {path}")
    if written:
        output.note(f"New {shell.value} sessions complete hud.")
    else:
        output.note(f"The {shell.value} completions are installed and up to date.")
    return 0


def script(shell: Shell) -> str:
    """Make the completion script of a shell from the command tree."""
    from hud_cli.completion.bash import script as bash_script
    from hud_cli.completion.fish import script as fish_script
    from hud_cli.completion.model import nodes
    from hud_cli.completion.zsh import script as zsh_script

    match shell:
        case Shell.bash:
            return bash_script(nodes())
        case Shell.zsh:
            return zsh_script(nodes())
        case Shell.fish:
            return fish_script(nodes())
        case _:
            assert_never(shell)


def _current_shell() -> Shell:
    name = os.path.basename(os.environ.get("SHELL", ""))
    if name not in [shell.value for shell in Shell]:
        raise UsageError(f"$SHELL is {name!r}: name the shell", hint="hud completion install bash")
    return Shell(name)


def _install_bash(text: str) -> list[Path]:
    """Put it where bash-completion looks; without that package, let ~/.bashrc read it."""
    folder = os.environ.get("BASH_COMPLETION_USER_DIR") or _data_home() / "bash-completion"
    path = Path(folder, "completions", "hud")
    written = _write(path, text)
    if not any(os.path.exists(place) for place in _BASH_COMPLETION):
        written += _block(Path.home() / ".bashrc", f'[ -r "{path}" ] && . "{path}"')
    return written


def _install_zsh(text: str) -> list[Path]:
    home = Path(os.environ.get("ZDOTDIR") or Path.home())
    folder = home / ".zfunc"
    lines = f'fpath=("{folder}" $fpath)\nautoload -Uz compinit && compinit'
    return _write(folder / "_hud", text) + _block(home / ".zshrc", lines)


def _install_fish(text: str) -> list[Path]:
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return _write(config / "fish" / "completions" / "hud.fish", text)


_INSTALLERS: dict[Shell, Callable[[str], list[Path]]] = {
    Shell.bash: _install_bash,
    Shell.zsh: _install_zsh,
    Shell.fish: _install_fish,
}


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def _write(path: Path, text: str) -> list[Path]:
    """Write a file whole, and give its path if that changed it."""
    if path.is_file() and path.read_text("utf-8", errors="replace") == text:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()  # a start-up file that is a link into a dotfiles repository stays one
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, "utf-8", errors="surrogateescape")
        if target.is_file():
            beside.chmod(target.stat().st_mode & 0o7777)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return [path]


def _block(path: Path, lines: str) -> list[Path]:
    """Put lines between our marks at the end of a start-up file, or replace what is between them."""
    block = f"{_BEGIN}\n{lines}\n{_END}\n"
    before = path.read_text("utf-8", errors="surrogateescape") if path.is_file() else ""
    if _BEGIN in before and _END in before:
        head, _, rest = before.partition(_BEGIN)
        after = head + block + rest.partition(_END)[2].removeprefix("\n")
    else:
        after = before + ("\n" if before and not before.endswith("\n") else "") + block
    return [] if after == before else _write(path, after)
