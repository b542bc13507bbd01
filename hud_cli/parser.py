"""Parse the served commands with nothing imported.

The rules are those of the Typer tree on a workstation, and a test holds the two together: options and arguments mix,
`--` ends the options, `--name=value`, `--name value`, `-n value` and `-nvalue` are one, short flags combine, the word
after an option that takes a value is its value whatever it looks like, the last of a repeated option wins.
"""

from __future__ import annotations

from hud.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hud_cli.commands import Command, Option, Value

__all__ = ["HELP_FLAGS", "did_you_mean", "parse", "usage"]

HELP_FLAGS = ("-h", "--help")


def parse(command: Command, argv: Sequence[str]) -> dict[str, Value] | None:
    """Give a value for each parameter of `command`, or None when help was asked for.

    Raises:
        UsageError: an unknown option, a missing or surplus word, or a value of the wrong kind.
    """
    by_flag: dict[str, Option | None] = {flag: option for option in command.options for flag in option.flags}
    by_flag.update(dict.fromkeys(HELP_FLAGS))
    given: dict[str, list[str]] = {}
    positional: list[str] = []
    wants_help = False
    rest = list(reversed(argv))
    while rest:
        word = rest.pop()
        if word == "--":
            positional += reversed(rest)
            break
        if word[:1] != "-" or word == "-":
            positional.append(word)
            continue
        for flag, attached in _flags_of(word, by_flag):
            option = by_flag[flag]
            if option is None or option.kind == "flag":
                if attached is not None:
                    raise UsageError(f"option {flag} takes no value, got {attached!r}")
                if option is None:
                    wants_help = True
                else:
                    given.setdefault(option.name, []).append("")
            elif attached is not None:
                given.setdefault(option.name, []).append(attached)
            elif rest:
                given.setdefault(option.name, []).append(rest.pop())
            else:
                raise UsageError(f"option {flag} requires a value: {flag} {option.metavar}")
    if wants_help:
        return None
    values: dict[str, Value] = {option.name: _value_of(option, given.get(option.name)) for option in command.options}
    values.update(_arguments(command, positional))
    return values


def usage(command: Command) -> str:
    """Give the usage line of a command."""
    words = [
        argument.metavar if argument.default is None else f"[{argument.metavar}]" for argument in command.arguments
    ]
    return " ".join(["Usage: hud", *command.path, "[OPTIONS]", *words])


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Give a hint that names what `word` may have meant, or None."""
    from difflib import get_close_matches

    *others, last = get_close_matches(word, list(known), n=3) or [""]
    return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if last else None


def _flags_of(word: str, by_flag: dict[str, Option | None]) -> list[tuple[str, str | None]]:
    """Split one word into its flags, the last perhaps with the value attached to it."""
    name, equals, value = word.partition("=")
    if name in by_flag and len(name) > 2:
        return [(name, value if equals else None)]
    if word[:2] == "--":
        raise UsageError(f"no such option: {name}", hint=did_you_mean(name, by_flag))
    flags: list[tuple[str, str | None]] = []
    for position, letter in enumerate(word[1:], 2):
        flag = "-" + letter
        if flag not in by_flag:
            raise UsageError(f"no such option: {flag}", hint=did_you_mean("-" + word, by_flag))
        option = by_flag[flag]
        if option is not None and option.kind != "flag":
            flags.append((flag, word[position:] or None))
            break
        flags.append((flag, None))
    return flags


def _value_of(option: Option, texts: list[str] | None) -> Value:
    if texts is None:
        return option.default
    if option.repeatable:
        return texts
    if option.kind == "flag":
        return True
    text = texts[-1]
    try:
        return int(text) if option.kind == "integer" else float(text) if option.kind == "number" else text
    except ValueError:
        raise UsageError(f"{option.flags[-1]} is {_article(option.kind)}, got {text!r}") from None


def _arguments(command: Command, words: list[str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for position, argument in enumerate(command.arguments):
        if position < len(words):
            values[argument.name] = words[position]
        elif argument.default is None:
            raise UsageError(f"missing argument {argument.metavar}")
        else:
            values[argument.name] = argument.default
    if surplus := words[len(command.arguments) :]:
        raise UsageError(f"unexpected argument {surplus[0]!r}", hint="quote a value that has spaces in it")
    return values


def _article(kind: str) -> str:
    return "an integer" if kind == "integer" else "a number"
