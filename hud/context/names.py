"""Which environment a folder declares, found by parsing its source, never by importing it.

The module that the image serves decides; where the Dockerfile does not tell, or that module declares nothing itself,
exactly one declaration must be in the tree.

Source: CLI specification, section 4.6; platform API specification, section 5.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hud.context.dockerfile import command_words, read_instructions
from hud.context.recipe import Recipe
from hud.errors import EnvironmentLoadError, NotFoundError, UsageError
from hud.names import normalise

__all__ = ["Declaration", "environment_name", "served_target"]

_SKIPPED = frozenset(
    (
        *(".git", ".hg", ".svn", ".hud", ".venv", "venv", "dist", "build", "node_modules", "site-packages"),
        *("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox", ".eggs"),
        *(".cache", ".idea", ".vscode", ".ipynb_checkpoints"),
    )
)
_LARGEST_BYTES = 4 * 2**20  # larger files are data
_VALUED_OPTIONS = frozenset({"-p", "--port", "--host", "--arg", "--token", "--parked-ttl"})
_MOST_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """An `Environment(…)` in a source file.

    Attributes:
        place: File and line.
        name: The literal name, or None where it has none or a computed one.
        variable: What it is assigned to.
    """

    place: str
    name: str | None
    variable: str | None


def environment_name(folder: Path, recipe: Recipe, *, wanted: str | None = None, source: Path | None = None) -> str:
    """Give the name of the environment that a folder declares, as its code spells it.

    Args:
        wanted: Which one, where it declares several.
        source: The file that declares it, whatever the image serves and the rest of the tree declares.

    Raises:
        NotFoundError: it declares none (of that name).
        UsageError: it declares several and none is wanted, or the name is missing, computed or without a letter.
        EnvironmentLoadError: the source, or the module that the image serves, cannot be parsed.
    """
    unread: list[str] = []
    if source is not None:
        declarations = _parsed(source, source.name)
    else:
        declarations = _served_declarations(folder, recipe)
        if not declarations:
            declarations, unread = _tree_declarations(folder)
    name = _choose(folder, declarations, unread, wanted)
    if not normalise(name):
        raise UsageError(f"the environment name {name!r} has no letter or digit", hint='Environment("my-env")')
    return name


def served_target(folder: Path, recipe: Recipe) -> str | None:
    """Give what the image's command serves, the TARGET of `hud serve`, or None when it runs no `hud serve`."""
    words = command_words(read_instructions(folder / recipe.dockerfile))
    for place in range(len(words) - 1):
        if words[place].rpartition("/")[2] == "hud" and words[place + 1] == "serve":
            return _target(words[place + 2 :])
    return None


def _target(words: list[str]) -> str:
    rest = iter(words)
    for word in rest:
        if word in _VALUED_OPTIONS:
            next(rest, None)
        elif word in ("&&", "||", ";", "|"):
            break
        elif not word.startswith("-"):
            return word
    return "env"  # the default of `hud serve`


def _served_declarations(folder: Path, recipe: Recipe) -> list[Declaration]:
    target = served_target(folder, recipe)
    if target is None:
        return []
    head, separator, attribute = target.rpartition(":")
    module = head if separator and head else target
    file = _module_file(folder, module)
    if file is None:
        return []
    found = _parsed(file, file.relative_to(folder).as_posix(), role=", which the image serves,")
    if separator and head and attribute:
        # A factory or a re-export has another variable: then whatever the module declares stands for it.
        return [one for one in found if attribute in (one.variable, one.name)] or found
    return found


def _parsed(file: Path, shown: str, *, role: str = "") -> list[Declaration]:
    """Give what a file declares that has to be parsable."""
    try:
        return _declarations(file, shown)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        words = error.msg if isinstance(error, SyntaxError) else str(error)
        raise EnvironmentLoadError(
            f"{shown}{line}{role} cannot be parsed: {words}", hint=f"python -m py_compile {shown}"
        ) from error


def _module_file(folder: Path, module: str) -> Path | None:
    """Give the file that a target means: a path, or a module in the folder, in its `src`, or in one place below it."""
    relative = module.removeprefix("./")
    if os.path.isabs(module):
        # A path of the image; what the folder has under its last parts is most likely what was copied there.
        relative = module.rpartition("/")[2]
    if not relative.endswith(".py"):
        dotted = relative.replace(".", "/") if "/" not in relative else relative
        candidates = [f"{dotted}.py", f"{dotted}/__init__.py"]
    else:
        candidates = [relative]
    for candidate in candidates:
        for base in (folder, folder / "src"):
            if (base / candidate).is_file():
                return base / candidate
    found = [path for path in _python_files(folder) if any(path.as_posix().endswith(f"/{one}") for one in candidates)]
    return found[0] if len(found) == 1 else None


def _tree_declarations(folder: Path) -> tuple[list[Declaration], list[str]]:
    """Give what all Python files of a tree declare, and the files that may declare something but cannot be parsed."""
    declarations: list[Declaration] = []
    unread: list[str] = []
    for path in _python_files(folder):
        shown = path.relative_to(folder).as_posix()
        try:
            declarations += _declarations(path, shown)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
            unread.append(shown)
    return declarations, unread


def _python_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _SKIPPED and not name.endswith(".egg-info") and not _is_virtual(os.path.join(root, name))
        )
        yield from (Path(root, name) for name in sorted(files) if name.endswith(".py"))


def _is_virtual(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "pyvenv.cfg"))


def _declarations(path: Path, shown: str) -> list[Declaration]:
    """Give the environments that a file declares.

    Raises:
        OSError, SyntaxError, ValueError, RecursionError, MemoryError: it cannot be read or parsed.
    """
    if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
        return []
    content = path.read_bytes()
    if b"Environment" not in content:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in strings: the author's matter
        tree = ast.parse(content)
    names = _names_of_environment(tree)
    variables = {id(value): variable for variable, value in _assignments(tree)}
    return [
        Declaration(place=f"{shown}:{node.lineno}", name=_literal_name(node), variable=variables.get(id(node)))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_environment(node.func, names)
    ]


def _names_of_environment(tree: ast.Module) -> set[str]:
    """Give the names that stand for the class; another library's `Environment` (jinja2 has one) is none."""
    names: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            ours = node.module is not None and node.module.split(".")[0] == "hud" and not node.level
            for alias in node.names:
                if alias.name == "Environment":
                    (names if ours else others).add(alias.asname or alias.name)
        elif isinstance(node, ast.ClassDef):
            others.add(node.name)
    return names | ({"Environment"} - others)


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def _is_environment(function: ast.expr, names: set[str]) -> bool:
    if isinstance(function, ast.Name):
        return function.id in names
    if isinstance(function, ast.Attribute) and function.attr == "Environment":
        base = function.value
        while isinstance(base, ast.Attribute):
            base = base.value
        return isinstance(base, ast.Name) and base.id == "hud"
    return False


def _literal_name(call: ast.Call) -> str | None:
    given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
        return given[0].value
    return None


def _choose(folder: Path, declarations: list[Declaration], unread: list[str], wanted: str | None) -> str:
    names = list(dict.fromkeys(one.name for one in declarations if one.name is not None))
    if wanted is not None:
        for name in names:
            if wanted == name or normalise(wanted) == normalise(name) != "":
                return name
        declared = ", ".join(names) or "no environment"
        raise NotFoundError(f"{folder} declares no environment {wanted!r}, but {declared}", hint=_wanted_hint(names))
    unnamed = [one.place for one in declarations if one.name is None]
    if len(names) == 1 and not unnamed:
        return names[0]
    if not declarations:
        also = f"; {', '.join(unread[:_MOST_SHOWN])} cannot be parsed" if unread else ""
        raise NotFoundError(f"{folder} declares no environment{also}", hint='env = Environment("my-env") in env.py')
    if not names:
        raise UsageError(
            f"the environment in {unnamed[0]} has no literal name", hint='write it down: Environment("my-env")'
        )
    places = ", ".join(f"{one.name or 'without a name'} ({one.place})" for one in declarations[:_MOST_SHOWN])
    raise UsageError(f"{folder} declares several environments: {places}", hint=_wanted_hint(names))


def _wanted_hint(names: list[str]) -> str | None:
    return f"hud deploy --name {names[0]}" if names else None
