"""Folders to build from, and the contexts found in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hud.context import Context, find_recipe, scan
from tests.hud.context.folders import Files, shown, write


@pytest.fixture
def project(tmp_path: Path) -> Callable[[Files], Path]:
    """Write a folder that has a Dockerfile, if nothing else."""

    def make(files: Files) -> Path:
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        return write(folder, {"Dockerfile": "FROM scratch\nCOPY . /app\n", **files})

    return make


@pytest.fixture
def found(project: Callable[[Files], Path]) -> Callable[[Files], Context]:
    """Write a folder and give the context that a build of it gets."""

    def find(files: Files) -> Context:
        folder = project(files)
        return scan(folder, find_recipe(folder))

    return find


@pytest.fixture
def travels(found: Callable[[Files], Context]) -> Callable[[Files], set[str]]:
    """Write a folder and give the paths that travel, without the recipe and the ignore files; a folder ends with /."""
    return lambda files: shown(found(files))
