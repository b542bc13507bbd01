"""How a folder is built: its Dockerfile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hud.errors import NotFoundError, UsageError

__all__ = ["COMPOSE_FILES", "DOCKERFILES", "Recipe", "find_recipe"]

DOCKERFILES = ("Dockerfile.hud", "Dockerfile")
COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a folder is built.

    Attributes:
        dockerfile: The name of the Dockerfile in the folder.
    """

    dockerfile: str


def find_recipe(folder: Path) -> Recipe:
    """Give the recipe of a folder: `Dockerfile.hud`, else `Dockerfile`.

    A Compose file beside one of them is left alone: what is registered is one image.

    Raises:
        NotFoundError: there is no such folder, or it has no recipe.
        UsageError: it is no folder, or has a Compose file alone.
    """
    if not folder.exists():
        raise NotFoundError(f"no such folder: {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint=f"hud deploy {folder.parent}")
    for name in DOCKERFILES:
        if (folder / name).is_file():
            return Recipe(dockerfile=name)
    compose = _compose_file(folder)
    if compose is not None:
        raise UsageError(
            f"{folder} has {compose} and no Dockerfile: a Compose project is not built here",
            hint=f"name the image that serves the environment in {folder / DOCKERFILES[0]}",
        )
    raise NotFoundError(
        f"{folder} has neither {DOCKERFILES[0]} nor {DOCKERFILES[1]}",
        hint="hud init my-env shows a folder that builds",
    )


def _compose_file(folder: Path) -> str | None:
    for name in COMPOSE_FILES:
        if (folder / name).is_file():
            return name
    others = sorted(path.name for path in folder.glob("docker-compose.*") if "override" not in path.name)
    return others[0] if others else None
