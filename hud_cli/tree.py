"""The Typer tree: every command of a workstation.

The served commands are made here from the definitions that the light parser reads, for help, completions and the
reference; run, they go through the light parser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import TextIOBase
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hud.errors import UsageError
from hud.version import __version__
from hud_cli import build as builds
from hud_cli import cleanup, completion, deploy, doctor, env, init, login, output, platform, project, settings, sync
from hud_cli.commands import GROUPS, SERVED, Argument, Command, Option, resolve
from hud_cli.parser import HELP_FLAGS

if TYPE_CHECKING:
    from hud_cli.commands import Value

    Call = Callable[[Command, dict[str, Value]], int]
    """What a served command does with its parsed values."""

__all__ = ["build", "commands", "run", "usage"]

_ORDER = (
    *("init", "serve", "task", "deploy", "sync", "env", "build"),
    *("platform", "login", "set", "project"),
    *("doctor", "cleanup", "completion", "client", "version"),
)
_GROUP_MODULES = {
    "sync": sync,
    "env": env,
    "build": builds,
    "platform": platform,
    "project": project,
    "completion": completion,
}
_TYPES = {"text": str, "flag": bool, "integer": int, "number": float}

_INTERRUPTED = 130

# Typer carries its own copy of click from 0.25 on and uses click's before: both give the same classes this way.
_CLICK_ERROR: type[BaseException] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def run(words: Sequence[str]) -> int:
    """Run one command line and give its exit code; without words, help and 2.

    Raises:
        UsageError: the words do not parse.
    """
    command = build()
    if not words:
        output.note(command.make_context("hud", [], resilient_parsing=True).get_help())
        return 2
    try:
        with redirect_stdout(cast(Any, _Door())):
            result = command.main(args=list(words), prog_name="hud", standalone_mode=False)
    except _CLICK_ERROR as error:
        message = cast(Any, error).format_message()
        raise UsageError(f"{message[:1].lower()}{message[1:].rstrip('.')}") from error
    if result == _INTERRUPTED:  # what Typer makes of Ctrl-C, without a word
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def usage(words: Sequence[str]) -> str:
    """Give the usage line of the command that `words` begin with."""
    command: Any = build()
    context = command.make_context("hud", [], resilient_parsing=True)
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command = inner
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    return cast(str, context.get_usage())


def commands(root: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command and group of the tree with its path, parents first."""
    command = build() if root is None else root
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def build(call: Call | None = None) -> Any:
    """Make the tree, a click command.

    Args:
        call: Takes the place of running a served command.
    """
    shared_settings = {"help_option_names": list(reversed(HELP_FLAGS))}
    app = typer.Typer(
        name="hud",
        help=f"HUD {__version__}: package agent tasks into container images and run them anywhere.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=shared_settings,
    )
    app.callback()(_root)
    groups = {
        name: typer.Typer(name=name, help=summary, rich_markup_mode=None, context_settings=shared_settings)
        for name, summary in GROUPS.items()
    }
    for command in SERVED:
        owner = app if len(command.path) == 1 else groups[command.path[0]]
        owner.command(command.path[-1], context_settings=shared_settings)(_function(command, call or _call))
    for name, group in groups.items():
        app.add_typer(group, name=name)
    app.command("init", context_settings=shared_settings)(init.init)
    app.command("doctor", context_settings=shared_settings)(doctor.doctor)
    app.command("cleanup", context_settings=shared_settings)(cleanup.cleanup)
    app.command("deploy", context_settings=shared_settings)(deploy.deploy)
    app.command("login", context_settings=shared_settings)(login.login)
    app.command("set", context_settings=shared_settings)(settings.set_settings)
    for name, module in _GROUP_MODULES.items():
        app.add_typer(module.app, name=name)
    tree: Any = typer.main.get_command(app)
    tree.commands = {name: tree.commands[name] for name in _ORDER}
    return tree


def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """The options of `hud` itself; `hud_cli.main` answers --version before this tree is built."""


def _call(command: Command, values: dict[str, Value]) -> int:
    return resolve(command)(**values)


def _function(command: Command, call: Call) -> Callable[..., int]:
    """Make a function with the signature that Typer reads a command from."""

    def function(**values: Value) -> int:
        return call(command, values)

    items: tuple[Argument | Option, ...] = (*command.arguments, *command.options)
    parameters = [_parameter(item) for item in items]
    function.__doc__ = command.help
    function.__name__ = "_".join(command.path)
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    cast(Any, function).__signature__ = inspect.Signature(parameters)
    return function


def _parameter(item: Argument | Option) -> inspect.Parameter:
    kind: Any
    default: Any = item.default
    if isinstance(item, Argument):
        kind = Annotated[str, typer.Argument(help=item.help, metavar=item.metavar)]
        default = inspect.Parameter.empty if default is None else default
    else:
        value: Any = list[str] if item.repeatable else _TYPES[item.kind]
        if default is None:
            value = value | None
        metavar = None if item.kind == "flag" else item.metavar
        shown = default not in (None, False, [])
        kind = Annotated[value, typer.Option(*item.flags, help=item.help, metavar=metavar, show_default=shown)]
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


class _Door(TextIOBase):
    """What Typer prints (help) goes out like everything else."""

    def write(self, text: str) -> int:
        output.data(text)
        return len(text)
