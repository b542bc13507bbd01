"""What can be said against a folder before anything is uploaded: its Dockerfile, and what a build of it would miss.

Source: CLI specification, section 4.6; platform API specification, weakness 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hud.context.credentials import OWN_FOLDERS, is_credential
from hud.context.dockerfile import Instruction, read_instructions, words_of
from hud.context.ignore import Rules, ignore_file, read_rules
from hud.context.names import served_target
from hud.context.recipe import Recipe
from hud.errors import HudError

__all__ = ["Problem", "preflight"]

Level = Literal["error", "warning"]

_WILDCARDS = frozenset("*?[")
_INSTALLS = re.compile(
    r"\bpip3?\s+(?:\S+\s+)*?install\s+(?:\S+\s+)*?(?:-e\s+)?\.(?:\[[\w,-]*\])?(?=\s|$|;|&)"
    r"|\buv\s+sync\b(?!.*--no-install-project)"
    r"|\bpoetry\s+install\b(?!.*--no-root)"
    r"|\bpython3?\s+-m\s+build\b|\bhatch\s+build\b"
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that stops a deploy (`error`) or that its author should know (`warning`)."""

    level: Level
    message: str
    hint: str | None = None


def preflight(folder: Path, recipe: Recipe) -> list[Problem]:
    """Give everything that can be said against a folder, errors first; nothing is run and nothing is sent.

    Raises:
        UsageError: the ignore file cannot be understood.
        HudError: the Dockerfile or the ignore file cannot be read.
    """
    return sorted(_problems(folder, recipe), key=lambda problem: problem.level != "error")


def _problems(folder: Path, recipe: Recipe) -> Iterator[Problem]:
    name = recipe.dockerfile
    try:
        instructions = read_instructions(folder / name)
    except HudError as error:
        yield Problem(level="error", message=error.message, hint=error.hint)
        return
    yield from _check_dockerfile(name, instructions)
    if instructions and served_target(folder, recipe) is None:
        yield Problem(
            level="warning",
            message=f"the command of {name} runs no hud serve, so the image may answer nobody",
            hint='CMD ["hud", "serve", "env.py", "--host", "0.0.0.0"]',
        )
    tree = _Tree(folder, recipe)
    yield from _check_sources(name, instructions, tree)
    yield from _check_project(name, instructions, tree)


class _Tree:
    """What a build sees of a folder."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.rules: Rules = read_rules(folder, recipe)
        self.ignore_file = ignore_file(folder, recipe)

    def missing(self, path: str) -> str | None:
        """Give why a build does not find a path, or None when it does (or may)."""
        if not (self.folder / path).exists():
            return "is not there"
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            if parts[depth - 1] in OWN_FOLDERS or is_credential(self.folder, "/".join(parts[:depth]), parts[depth - 1]):
                return "never leaves this machine, because it may hold credentials"
        state = self.rules.decide_from_root(path)
        if self.rules.left_out(state) and not self.rules.may_bring_back_below(path, state):
            return f"is left out by {self.ignore_file or 'the list of junk'}"
        return None


def _check_dockerfile(name: str, instructions: list[Instruction]) -> Iterator[Problem]:
    if not instructions:
        yield Problem(level="error", message=f"{name} is empty", hint="hud init my-env shows one that serves")
        return
    if not any(instruction.word == "FROM" for instruction in instructions):
        yield Problem(level="error", message=f"{name} has no FROM", hint="begin it with FROM python:3.12-slim")
        return
    first = next(instruction for instruction in instructions if instruction.word != "ARG")
    if first.word != "FROM":
        yield Problem(
            level="error",
            message=f"{name}:{first.line} has {first.word} before FROM",
            hint="only ARG may stand before the first FROM",
        )


def _check_sources(name: str, instructions: list[Instruction], tree: _Tree) -> Iterator[Problem]:
    """Warn of what COPY and ADD will not find, as far as the Dockerfile says it literally."""
    for instruction in instructions:
        for source in _sources(instruction):
            if _WILDCARDS.intersection(source):
                continue
            why = tree.missing(source)
            if why is not None:
                secret = "credentials" in why
                yield Problem(
                    level="warning",
                    message=f"{name}:{instruction.line} copies {source}, which {why}",
                    hint=f"hud deploy --secret id=…,src={source}, and RUN --mount=type=secret,id=… in {name}"
                    if secret
                    else None,
                )


def _check_project(name: str, instructions: list[Instruction], tree: _Tree) -> Iterator[Problem]:
    """Check what a build of the Python project needs beside its code."""
    file = tree.folder / "pyproject.toml"
    if not file.is_file():
        return
    import tomli

    try:
        project = tomli.loads(file.read_bytes().decode("utf-8"))
    except (tomli.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        yield Problem(level="error", message=f"pyproject.toml cannot be read: {error}", hint="mend pyproject.toml")
        return
    needed: list[tuple[str, str, Level]] = [
        *(("license file", path, "error") for path in _license_files(project)),
        *(("readme", path, "warning") for path in _readmes(project)),
    ]
    for what, path, level in needed:
        why = tree.missing(path)
        if why is not None:
            yield Problem(
                level=level,
                message=f"the {what} {path} that pyproject.toml names {why}",
                hint=f"add {path}, or take it out of pyproject.toml",
            )
            continue
        line = _installed_before_copied(instructions, path)
        if line is not None:
            yield Problem(
                level=level,
                message=f"{name}:{line} installs the project before its {what} {path} is copied",
                hint=f"COPY pyproject.toml {path} ./",
            )
    for path in _included(project):
        why = tree.missing(path)
        if why is not None:
            yield Problem(
                level="warning", message=f"{path}, which pyproject.toml includes, {why}", hint="mend pyproject.toml"
            )


def _sources(instruction: Instruction) -> list[str]:
    """Give the paths of the context that an instruction copies; none where a variable or a URL is one of them."""
    if instruction.word not in ("COPY", "ADD") or instruction.inline:
        return []
    if any(flag.startswith("--from") for flag in instruction.flags):
        return []
    paths = [_relative(source) for source in words_of(instruction.value)[:-1]]
    return [path for path in paths if path is not None]


def _relative(source: str) -> str | None:
    if "$" in source or "://" in source or source.startswith("git@"):
        return None
    parts = [part for part in source.split("/") if part not in ("", ".")]
    return "/".join(parts) if ".." not in parts and parts else None


def _copies_everything(instruction: Instruction) -> bool:
    words = words_of(instruction.value)[:-1]
    return any(word.strip("/") in ("", ".", "*") for word in words)


def _installed_before_copied(instructions: list[Instruction], path: str) -> int | None:
    """Give the line of the first RUN that installs the project while a file of it is not in the image yet."""
    copied = False
    for instruction in instructions:
        if instruction.word == "FROM":
            # A stage that goes on from another one may have the file from there.
            copied = any(
                re.search(rf"\bas\s+{re.escape(instruction.value.split()[0])}$", other.value, re.IGNORECASE)
                for other in instructions
                if other.word == "FROM" and other.line < instruction.line and instruction.value
            )
        elif instruction.word in ("COPY", "ADD"):
            copied = copied or instruction.inline or any("--from" in flag for flag in instruction.flags)
            copied = copied or _copies_everything(instruction) or any(map(_covers(path), _sources(instruction)))
            copied = copied or "$" in instruction.value
        elif instruction.word == "RUN" and not copied and _INSTALLS.search(instruction.value):
            bound = any(flag.startswith("--mount=type=bind") for flag in instruction.flags)
            if not bound:
                return instruction.line
    return None


def _covers(path: str) -> Any:
    from fnmatch import fnmatchcase

    parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
    return lambda source: any(fnmatchcase(parent, source) for parent in parents)


def _license_files(project: Mapping[str, Any]) -> list[str]:
    metadata = _table(project, "project")
    found = [_table(metadata, "license").get("file"), *_list(metadata.get("license-files"))]
    return _literal_paths(found)


def _readmes(project: Mapping[str, Any]) -> list[str]:
    metadata = _table(project, "project")
    readme = metadata.get("readme")
    poetry = _table(project, "tool", "poetry").get("readme")
    return _literal_paths([readme, _table(metadata, "readme").get("file"), *_list(poetry), poetry])


def _included(project: Mapping[str, Any]) -> list[str]:
    build = _table(project, "tool", "hatch", "build")
    targets = [value for value in _table(build, "targets").values() if isinstance(value, dict)]
    found: list[object] = []
    for table in (build, *targets):
        found += [*_list(table.get("include")), *_table(table, "force-include")]
    for item in _list(_table(project, "tool", "poetry").get("include")):
        found.append(item.get("path") if isinstance(item, dict) else item)
    return _literal_paths(found)


def _literal_paths(found: list[object]) -> list[str]:
    """Give the paths inside the folder among values of a TOML file, each once and without wildcards."""
    paths = [_relative(item) for item in found if isinstance(item, str) and not item.startswith("!")]
    return list(dict.fromkeys(path for path in paths if path is not None and not _WILDCARDS.intersection(path)))


def _table(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = value.get(name)
        value = inner if isinstance(inner, dict) else {}
    return value


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
