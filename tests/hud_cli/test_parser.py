"""The light parser and the Typer tree are one command line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hud.errors import UsageError
from hud_cli import tree
from hud_cli.commands import SERVED, Command, find
from hud_cli.parser import parse, usage

if TYPE_CHECKING:
    from hud_cli.commands import Value

_PARSE_ERROR = tree._CLICK_ERROR
_calls: list[tuple[tuple[str, ...], dict[str, Value]]] = []


@cache
def recording_tree() -> Any:
    def record(command: Command, values: dict[str, Value]) -> int:
        _calls.append((command.path, values))
        return 0

    return tree.build(record)


def by_tree(words: Sequence[str]) -> object:
    """What the Typer tree makes of a command line: a call, "help" or "error"."""
    _calls.clear()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            recording_tree().main(args=list(words), prog_name="hud", standalone_mode=False)
    except _PARSE_ERROR:
        return "error"
    return _calls[0] if _calls else "help"


def by_parser(command: Command, words: Sequence[str]) -> object:
    try:
        values = parse(command, words)
    except UsageError:
        return "error"
    return "help" if values is None else (command.path, values)


CASES = [
    "task list",
    "task list -q -s tasks.py",
    "task list -qs tasks.py",
    "task list -qstasks.py",
    "task list --source=tasks.py --json",
    "task list extra",
    "task list --quiet=1",
    "task list --sources x",
    "task list --help",
    "task list -h",
    "task list -q -h --json",
    "task list -qh",
    "task list --nope --help",
    "task start",
    "task start fix_bug",
    "task start fix_bug extra",
    "task start -- --dashed",
    "task start --args {} fix_bug",
    "task start fix_bug --args",
    "task start -1",
    "task start -",
    "task start fix_bug --timeout abc",
    "task start fix_bug --timeout 2.5",
    "task start fix_bug --timeout=-1",
    "task start fix_bug --timeout abc --help",
    "task start fix_bug --run-arg=--gpus --run-arg all --image x",
    "task grade fix_bug --answer -5",
    "task grade fix_bug --answer --json",
    "task grade fix_bug --answer=--json",
    "task grade fix_bug --answer=",
    "task grade fix_bug --answer a --answer b",
    "task grade fix_bug --answer-file -",
    "task grade fix_bug --answ x",
    "task run fix_bug -u=x",
    "task run fix_bug -ulocalhost -a{}",
    "serve",
    "serve env.py:one -p 0 --host 0.0.0.0 --arg a=1 --arg b=2",
    "serve -p -1",
    "serve -p 1.5",
    "serve -p=1",
    "serve -vp 80 --watch",
    "serve --parked-ttl 60",
    "version --json",
    "client info",
    "client run x --answer y",
]


@pytest.mark.parametrize("line", CASES)
def test_both_parsers_make_the_same_call(line: str) -> None:
    words = line.split()
    command = find(tuple(words[:1])) or find(tuple(words[:2]))
    assert command is not None
    assert by_parser(command, words[len(command.path) :]) == by_tree(words)


def test_the_two_parsers_also_agree_on_an_empty_word() -> None:
    command = find(("task", "grade"))
    assert command is not None
    for words in (["", "--answer", ""], ["--answer=", ""], ["-s", "", "x"]):
        assert by_parser(command, words) == by_tree(["task", "grade", *words])


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[Command, list[str]]:
    command = draw(st.sampled_from(SERVED))
    flags = [flag for option in command.options for flag in option.flags]
    values = st.one_of(
        st.sampled_from(["x", "7", "-3", "2.5", "-", "--", "a=b", "", "=", "ü", "--json"]), st.text(max_size=4)
    )
    flag = st.sampled_from([*flags, "--help", "-h", "--nope", "-z"])
    attached = st.tuples(flag, st.sampled_from(["=", ""]), values).map("".join)
    words = draw(st.lists(st.one_of(flag, attached, values), max_size=7))
    return command, words


@settings(max_examples=500, deadline=None)
@given(command_lines())
def test_any_words_make_the_same_call_in_both(line: tuple[Command, list[str]]) -> None:
    command, words = line
    assert by_parser(command, words) == by_tree([*command.path, *words])


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["x", "--anser", "y"], "no such option: --anser", "did you mean --answer, --answer-file or --args?"),
        (["x", "--answer"], "option --answer requires a value: --answer TEXT", None),
        (["x", "--json=1"], "option --json takes no value, got '1'", None),
        ([], "missing argument TASK", None),
        (["x", "two words"], "unexpected argument 'two words'", "quote a value that has spaces in it"),
        (["x", "--timeout", "soon"], "--timeout is a number, got 'soon'", None),
    ],
)
def test_a_usage_error_names_what_is_wrong(words: list[str], message: str, hint: str | None) -> None:
    command = find(("task", "grade"))
    assert command is not None
    with pytest.raises(UsageError) as caught:
        parse(command, words)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_the_usage_line_shows_what_is_optional() -> None:
    shown = [usage(command) for command in SERVED[:3]]
    assert shown[0] == "Usage: hud serve [OPTIONS] [TARGET]"
    assert shown[2] == "Usage: hud task start [OPTIONS] TASK"
