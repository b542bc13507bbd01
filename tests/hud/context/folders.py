"""Folders to build from, and strategies for them and for ignore files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hypothesis import strategies as st

from hud.context import Context

Files = Mapping[str, str | bytes | None]
"""Contents by path; None is a folder. A path that ends with @ is a link to its content."""


def write(folder: Path, files: Files) -> Path:
    for path, content in files.items():
        place = folder / path.rstrip("@")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif path.endswith("@"):
            assert isinstance(content, str)
            place.symlink_to(content)
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def shown(context: Context) -> set[str]:
    """Give the paths that travel, without the recipe and the ignore files; a folder ends with /."""
    always = {context.recipe.dockerfile, ".dockerignore", f"{context.recipe.dockerfile}.dockerignore"}
    return {entry.path + ("/" if entry.type == "directory" else "") for entry in context.entries} - always


_NAMES = st.sampled_from(["a", "b", "ab", "c", "a.b", "x.md", "é", "a b", "keep"])
_PARTS = st.sampled_from(["a", "b", "ab", "keep", "*", "**", "a*", "?", "*.md", "x.*", "[ab]", "[^a]*", "é"])


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str | None]:
    """Give empty files and folders by path."""
    leaves = draw(st.lists(st.lists(_NAMES, min_size=1, max_size=4), min_size=2, max_size=12))
    folders = {"/".join(parts[:depth]) for parts in leaves for depth in range(1, len(parts))}
    files = {"/".join(parts) for parts in leaves} - folders
    return {**dict.fromkeys(sorted(folders)), **dict.fromkeys(sorted(files), "")}


def patterns() -> st.SearchStrategy[str]:
    """Give patterns that leave something out, in the part of the dialect that all releases of Docker read alike."""
    return st.lists(_PARTS, min_size=1, max_size=3).map("/".join)
