"""The `hud` command: find the command, run it, and turn errors into exits. Nowhere else are errors caught.

Exit codes: 0 success, 1 the operation failed, 2 usage, 3 cannot reach (Docker, platform, environment), 4 not
authorised, 130 interrupted, 143 terminated.

Served commands (`hud_cli.commands`) go through the light parser, everywhere; all others through the Typer tree, which
an image does not have. What is imported here is paid for by every `docker exec … hud task …`.
"""

from __future__ import annotations

import sys

from hud.errors import HudError, UsageError
from hud.version import __version__
from hud_cli import output
from hud_cli.commands import GROUPS, SERVED, WORKSTATION, find, resolve
from hud_cli.parser import HELP_FLAGS, did_you_mean, parse, usage
from hud_cli.signals import exit_on_sigterm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from hud_cli.commands import Command

__all__ = ["main", "version"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and give its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    exit_on_sigterm()
    try:
        return _run(words)
    except BrokenPipeError:  # the reader of our output has what it wanted
        return 1
    except KeyboardInterrupt:
        output.note("Interrupted.")
        return 130
    except HudError as error:
        return _fail(error, words)
    except Exception as error:  # noqa: BLE001  # the outermost place: a defect of ours
        return _crash(error, words)


def version(*, json: bool) -> int:
    """Print the version."""
    if json:
        output.document({"version": __version__})
    else:
        output.data(f"HUD CLI version: {__version__}\n")
    return 0


def _run(words: list[str]) -> int:
    first = words[0] if words else "--help"
    if first == "--version":
        return version(json="--json" in words)
    command, rest = _served(words)
    if command is not None:
        values = parse(command, rest)
        if values is None:
            from hud_cli.help import command_help

            output.data(command_help(command, width=output.width()) + "\n")
            return 0
        return resolve(command)(**values)
    if first in GROUPS:
        return _run_group(first, words[1:])
    return _run_tree(words)


def _served(words: list[str]) -> tuple[Command | None, list[str]]:
    """Find the served command that `words` begin with, and what follows it."""
    for length in (1, 2):
        command = find(tuple(words[:length]))
        if command is not None and len(words) >= length:
            return command, words[length:]
    return None, []


def _run_group(group: str, words: list[str]) -> int:
    from hud_cli.help import group_help

    if words and words[0] not in HELP_FLAGS:
        verbs = [command.path[1] for command in SERVED if command.path[0] == group]
        hint = did_you_mean(words[0], verbs) or f"one of: {', '.join(verbs)}"
        raise UsageError(f"no such command: hud {group} {words[0]}", hint=hint)
    text = group_help(group, width=output.width()) + "\n"
    if words:
        output.data(text)
        return 0
    output.note(text.rstrip())
    return 2


def _run_tree(words: list[str]) -> int:
    try:
        import typer  # noqa: F401  # first, because the tree loads a lot before it asks for it

        from hud_cli import tree
    except ModuleNotFoundError:
        return _run_without_tree(words)
    return tree.run(words)


def _run_without_tree(words: list[str]) -> int:
    """Answer for the commands that an image does not have: the wheel alone is there, without its dependencies."""
    from hud_cli.help import root_help

    if not words or words[0] in HELP_FLAGS:
        text = root_help(width=output.width()) + "\n"
        if words:
            output.data(text)
            return 0
        output.note(text.rstrip())
        return 2
    if words[0] in WORKSTATION:
        raise HudError(
            f"hud {words[0]} needs packages that are not installed here (typer and others)",
            hint="it is a workstation's command: pip install hud-cli, with its dependencies",
        )
    known = [command.path[0] for command in SERVED] + list(WORKSTATION)
    kind = "option" if words[0].startswith("-") else "command"
    raise UsageError(f"no such {kind}: {words[0]}", hint=did_you_mean(words[0], known) or "hud --help")


def _fail(error: HudError, words: list[str]) -> int:
    """Report an expected error and give its exit code."""
    usage_line = _usage_line(words) if isinstance(error, UsageError) else None
    try:
        output.error(error, as_json=_wants_json(words), usage=usage_line)
    except (BrokenPipeError, HudError):  # nobody hears it; the exit code still tells
        pass
    return error.exit_code


def _usage_line(words: list[str]) -> str:
    command, _ = _served(words)
    if command is not None:
        return usage(command)
    if words and words[0] in GROUPS:
        return f"Usage: hud {words[0]} COMMAND [ARGS]..."
    if words and words[0] in WORKSTATION:
        from hud_cli import tree

        return tree.usage(words)
    return "Usage: hud [OPTIONS] COMMAND [ARGS]..."


def _crash(error: Exception, words: list[str]) -> int:
    """Report a defect in one line; the traceback is for whoever asks for it."""
    import os

    if os.environ.get("HUD_DEBUG"):
        import traceback

        output.note("".join(traceback.format_exception(error)).rstrip())
    text = str(error)
    report = HudError(
        f"{type(error).__name__}{': ' if text else ''}{text}", hint="set HUD_DEBUG=1 to see where it comes from"
    )
    return _fail(report, words)


def _wants_json(words: list[str]) -> bool:
    return "--json" in (words[: words.index("--")] if "--" in words else words)
