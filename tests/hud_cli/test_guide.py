"""What README and docs say of commands is what the commands have, and links in them lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hud_cli import tree
from hud_cli.completion.model import nodes
from hud_platform.builds.images import KEPT_VERSIONS
from tests import bench

PAGES = [bench.ROOT / "README.md", *sorted((bench.ROOT / "docs").glob("*.md"))]
HUD_PLATFORM = (bench.ROOT / "docs" / "platform.md").read_text()
SHELL = re.compile(r"^(?:\$ |- run: | +run: )?(hud [^#\n]*)", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    flags = {node.path: {name for flag in node.flags for name in flag.names} for node in nodes()}
    blocks = re.findall(r"```(?:sh|console|yaml)\n(.*?)```", page.read_text().replace("\\\n", " "), re.DOTALL)
    for line in [line for block in blocks for line in SHELL.findall(block)]:
        words = line.split(" && ")[0].split()[1:]
        path: tuple[str, ...] = ()
        while words and (*path, words[0]) in flags:
            path = (*path, words.pop(0))
        assert path, line
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= flags[path], line


def test_the_platforms_page_has_every_command_option_and_variable() -> None:
    for path, command in tree.commands():
        if path[:1] == ("platform",) and not getattr(command, "commands", None):
            assert re.search(rf"`(?:hud platform )?{' '.join(path[1:])}\b|`{path[-1]}\b", HUD_PLATFORM), path
        if path == ("platform", "up"):
            for option in command.params:
                assert option.opts[-1] in HUD_PLATFORM
                assert option.envvar is None or option.envvar in HUD_PLATFORM


def test_the_platforms_page_says_how_many_images_are_kept() -> None:
    assert KEPT_VERSIONS == 5
    assert "the last five of an environment" in HUD_PLATFORM
