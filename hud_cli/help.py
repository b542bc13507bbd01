"""What `--help` prints for the served commands, here and in an image alike."""

from __future__ import annotations

from textwrap import wrap

from hud.version import __version__
from hud_cli.commands import GROUPS, SERVED, WORKSTATION
from hud_cli.parser import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hud_cli.commands import Command

__all__ = ["command_help", "explained", "group_help", "root_help"]


def command_help(command: Command, *, width: int) -> str:
    """Explain one command, wrapped to `width` columns."""
    arguments = [(argument.metavar, argument.help) for argument in command.arguments]
    options = []
    for option in command.options:
        flags = ", ".join(option.flags)
        text = option.help
        if option.default not in (None, False, []):
            shown = f"{option.default:g}" if isinstance(option.default, float) else option.default
            text += f" [default: {shown}]"
        options.append((flags if option.kind == "flag" else f"{flags} {option.metavar}", text))
    return explained(usage(command), command.help, arguments=arguments, options=options, width=width)


def explained(
    usage_line: str, text: str, *, arguments: list[tuple[str, str]], options: list[tuple[str, str]], width: int
) -> str:
    """Lay out the help of a command: usage, paragraphs, and a row for each argument and option."""
    lines = [usage_line, ""]
    for paragraph in text.split("\n\n"):
        lines += [
            *wrap(paragraph, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False),
            "",
        ]
    if arguments:
        lines += _table("Arguments:", arguments, width)
    return "\n".join(lines + _table("Options:", [*options, ("-h, --help", "Show this text.")], width)[:-1])


def group_help(group: str, *, width: int) -> str:
    """Explain a group by its commands."""
    rows = [(command.path[1], _summary(command)) for command in SERVED if command.path[0] == group]
    head = [f"Usage: hud {group} COMMAND [ARGS]...", "", f"  {GROUPS[group]}", ""]
    return "\n".join(head + _table("Commands:", rows, width)[:-1])


def root_help(*, width: int) -> str:
    """Explain `hud` where only the served commands are: in an image."""
    rows = [(command.path[0], _summary(command)) for command in SERVED if len(command.path) == 1]
    rows += list(GROUPS.items())
    head = ["Usage: hud [OPTIONS] COMMAND [ARGS]...", "", f"  HUD {__version__}: package agent tasks and run them.", ""]
    tail = wrap(f"{', '.join(WORKSTATION)}: with `pip install hud-cli`, where its dependencies come along.", width)
    options = [("--version", "Print the version."), ("-h, --help", "Show this text.")]
    return "\n".join(head + _table("Options:", options, width) + _table("Commands:", rows, width) + tail)


def _summary(command: Command) -> str:
    return command.help.partition("\n")[0]


def _table(title: str, rows: list[tuple[str, str]], width: int) -> list[str]:
    column = min(max(len(left) for left, _ in rows) + 4, 28)
    lines = [title]
    for left, right in rows:
        texts = wrap(right, max(width - column, 20), break_on_hyphens=False) or [""]
        head = f"  {left}"
        if len(head) + 2 > column:
            lines.append(head)
            head = ""
        lines.append(head.ljust(column) + texts[0])
        lines += [" " * column + text for text in texts[1:]]
    return [*lines, ""]
