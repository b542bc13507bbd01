"""The command reference in docs/cli.md: each command's own help, between two marks.

`python -m hud_cli.reference` writes it anew in a checkout; a test fails when it is not what the commands say.
"""

from __future__ import annotations

import inspect
from typing import Any

from hud.errors import UsageError
from hud_cli import output, tree
from hud_cli.commands import find
from hud_cli.completion.model import Node, nodes
from hud_cli.help import command_help, explained
from hud_cli.wheel import checkout_root

__all__ = ["page", "reference"]

BEGIN, END = "<!-- commands: begin -->", "<!-- commands: end -->"
_WIDTH = 100


def reference() -> str:
    """Write a section for each command, in Markdown."""
    sections = []
    for node, (path, command) in zip(nodes(), tree.commands(), strict=True):
        if node.commands:
            continue
        served = find(path)
        text = command_help(served, width=_WIDTH) if served is not None else _help(node, command)
        sections.append(f"### hud {' '.join(path)}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(sections)


def page(text: str) -> str:
    """Give a page with the reference between its marks made anew."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{reference()}\n{END}{rest.partition(END)[2]}"


def _help(node: Node, command: Any) -> str:
    given = [item for item in command.params if item.param_type_name == "argument"]
    words = [
        word if item.required else f"[{word}{'...' if item.nargs == -1 else ''}]"
        for word, item in zip(node.arguments, given, strict=True)
    ]
    options = [item for item in command.params if item.param_type_name == "option"]
    rows = [
        (", ".join(flag.names) + ("" if flag.value is None else f" {flag.value}"), flag.help + _extra(option))
        for flag, option in zip(node.flags, options, strict=False)  # the last flag is --help
    ]
    arguments = [(word, str(item.help)) for word, item in zip(node.arguments, given, strict=True)]
    line = " ".join(["Usage: hud", *node.path, "[OPTIONS]", *words])
    return explained(line, inspect.cleandoc(command.help), arguments=arguments, options=rows, width=_WIDTH)


def _extra(option: Any) -> str:
    """Give what --help says of an option beside its line: the variable it may come from, and its default."""
    parts = [] if option.envvar is None else [f"env var: {option.envvar}"]
    default = option.default
    if option.is_flag:
        default = option.opts[0] if option.secondary_opts and default else None
    if option.show_default and default is not None and not option.multiple:
        parts.append(f"default: {default:g}" if isinstance(default, float) else f"default: {default}")
    return f" [{'; '.join(parts)}]" if parts else ""


def main() -> None:
    """Write docs/cli.md anew.

    Raises:
        UsageError: this is no checkout.
    """
    root = checkout_root()
    if root is None:
        raise UsageError("only a checkout has docs/cli.md")
    path = root / "docs" / "cli.md"
    path.write_text(page(path.read_text("utf-8")), "utf-8")
    output.note(f"Wrote {path}")


if __name__ == "__main__":
    main()
