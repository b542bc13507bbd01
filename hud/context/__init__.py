"""What a build gets: the recipe of a folder, the files that belong to it, and their manifest of digests.

Names load on first use: a command that only wants the name of an environment needs no `msgspec`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hud.context.archive import write_archive
    from hud.context.hashing import chunk_source, digest
    from hud.context.manifest import CHUNK_BYTES, Manifest
    from hud.context.names import environment_name
    from hud.context.recipe import Recipe, find_recipe
    from hud.context.tree import Context, Entry, scan
    from hud.context.validation import Problem, preflight
    from hud.context.variables import read_env_file

__all__ = [
    "CHUNK_BYTES",
    "Context",
    "Entry",
    "Manifest",
    "Problem",
    "Recipe",
    "chunk_source",
    "digest",
    "environment_name",
    "find_recipe",
    "preflight",
    "read_env_file",
    "scan",
    "write_archive",
]

_HOMES = {
    "CHUNK_BYTES": "manifest",
    "Context": "tree",
    "Entry": "tree",
    "Manifest": "manifest",
    "Problem": "validation",
    "Recipe": "recipe",
    "chunk_source": "hashing",
    "digest": "hashing",
    "environment_name": "names",
    "find_recipe": "recipe",
    "preflight": "validation",
    "read_env_file": "variables",
    "scan": "tree",
    "write_archive": "archive",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
