"""What the scripts of all shells are made from: the tree's commands, options and arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["CHOICES", "Flag", "Node", "nodes"]


@dataclass(frozen=True)
class Flag:
    """An option.

    Attributes:
        names: All its spellings.
        help: One line.
        value: The word that help shows for its value, which says what to offer; None when it takes none.
        repeatable: Whether it may be given again.
    """

    names: tuple[str, ...]
    help: str
    value: str | None
    repeatable: bool


@dataclass(frozen=True)
class Node:
    """A command or a group.

    Attributes:
        path: The words after `hud`.
        summary: One line.
        flags: Its options.
        arguments: The word that help shows for each argument.
        commands: The commands in it with their summaries; only groups have any.
    """

    path: tuple[str, ...]
    summary: str
    flags: tuple[Flag, ...]
    arguments: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]


CHOICES = {
    "RUNTIME": ("hud", "modal"),
    "SCOPE": ("read", "write", "admin"),
    "SHELL": ("bash", "zsh", "fish"),
    "TEMPLATE": ("blank", "coding", "browser", "gpu"),
}
"""Values that are known beforehand. FILE, FOLDER, SOURCE and TARGET are looked up on disk, TASK in the source or
container at hand, IMAGE and CONTAINER on the Docker engine; any other word stands for free text."""


def nodes() -> list[Node]:
    """Read the command tree, parents first."""
    from hud_cli import tree

    return [_node(path, command) for path, command in tree.commands()]


def _node(path: tuple[str, ...], command: Any) -> Node:
    flags = [_flag(parameter) for parameter in command.params if parameter.param_type_name == "option"]
    arguments = [
        str(parameter.metavar or parameter.name).strip("[]")
        for parameter in command.params
        if parameter.param_type_name == "argument"
    ]
    inner = getattr(command, "commands", {})
    return Node(
        path=path,
        summary=_summary(command),
        flags=(*flags, Flag(("-h", "--help"), "Show this text.", None, False)),
        arguments=tuple(arguments),
        commands=tuple((name, _summary(child)) for name, child in inner.items()),
    )


def _flag(option: Any) -> Flag:
    value = None if option.is_flag else str(option.metavar or "TEXT")
    names = (*_in_order(option.opts), *_in_order(option.secondary_opts))
    return Flag(names, str(option.help or ""), value, bool(option.multiple))


def _in_order(names: list[str]) -> Iterator[str]:
    """Short spellings first."""
    yield from sorted(names, key=lambda name: (name.startswith("--"), name))


def _summary(command: Any) -> str:
    return str(command.help or "").strip().partition("\n")[0]
