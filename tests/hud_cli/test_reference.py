"""docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

from hud_cli import commands, reference, tree
from tests import bench

PAGE = bench.ROOT / "docs" / "cli.md"


def test_the_reference_is_up_to_date() -> None:
    """Mend it with: python -m hud_cli.reference"""
    text = PAGE.read_text()
    assert text == reference.page(text)


def test_every_command_has_a_section() -> None:
    text = PAGE.read_text()
    for path, command in tree.commands():
        if not getattr(command, "commands", None):
            assert f"\n### hud {' '.join(path)}\n" in text


def test_every_option_has_a_line_of_help() -> None:
    for command in commands.SERVED:
        lines = [option.help for option in command.options] + [argument.help for argument in command.arguments]
        assert all(line.endswith(".") for line in lines)


def test_an_image_names_what_the_tree_adds_by_the_same_summaries() -> None:
    served = {command.path[0] for command in commands.SERVED}
    added = {
        name: command for path, command in tree.commands() if len(path) == 1 for name in path if name not in served
    }
    assert {name: command.help.partition("\n")[0].strip() for name, command in added.items()} == commands.WORKSTATION
