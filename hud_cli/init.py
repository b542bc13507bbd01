"""`hud init`: a folder that builds with plain `docker build`, from a template, without any network."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from hud.errors import HudError, NotFoundError, UsageError
from hud_cli import output
from hud_cli.parser import did_you_mean

__all__ = ["File", "init", "normalised", "scaffold", "templates", "write"]

DEFAULT_TEMPLATE = "blank"
_NAME, _IDENTIFIER = b"my-env", b"my_env"  # what templates write where the environment's name goes
_LEFT_OUT = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hud", ".venv"}


class File(NamedTuple):
    """One file of a scaffold."""

    content: bytes
    executable: bool


def init(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The folder to make; . is the current one.")
    ] = None,
    parent: Annotated[
        str, typer.Option("--dir", "-d", metavar="FOLDER", help="Where the folder is made.", show_default=False)
    ] = ".",
    template: Annotated[
        str | None,
        typer.Option(
            "--template", "--preset", "-t", "-p", metavar="TEMPLATE", help="What to start from [default: blank]."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write into a folder that is not empty.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files, write nothing.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the templates.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Scaffold an environment that builds with plain docker build.

    Without NAME and --template it asks, on a terminal.
    """
    known = templates()
    if show_list:
        return _list(known, as_json=json)
    if name is None and template is None:
        if json or not output.is_interactive():
            raise UsageError("name the folder to make", hint="hud init my-env --template blank")
        template, name = _ask(known)
    template = template or DEFAULT_TEMPLATE
    if template not in known:
        hint = did_you_mean(template, known) or f"one of: {', '.join(known)}"
        raise UsageError(f"no template named {template!r}", hint=hint)
    target, env_name = _target(parent, name or f"hud-{template}")
    _refuse_occupied(target, force=force)
    files = scaffold(known[template], env_name)
    if not dry_run:
        write(target, files)
    if json:
        document = {"name": env_name, "template": template, "path": str(target.resolve()), "files": sorted(files)}
        output.document({**document, "dry_run": dry_run})
    elif dry_run:
        output.data("".join(f"{target / path}\n" for path in sorted(files)))
    else:
        _tell(target, env_name, template, number=len(files))
    return 0


def templates() -> dict[str, Path]:
    """Give the folder of each template by name, the default first.

    Raises:
        HudError: the installation has none.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "templates", here.parent / "templates"):
        found = sorted(path for path in folder.glob("*") if (path / "env.py").is_file())
        if found:
            found.sort(key=lambda path: path.name != DEFAULT_TEMPLATE)
            return {path.name: path for path in found}
    raise HudError("this installation has no templates", hint="pip install --force-reinstall hud-cli")


def summary(template: Path) -> str:
    """Give a template's own words: what follows the colon in the first line of its env.py."""
    text = ast.get_docstring(ast.parse((template / "env.py").read_bytes())) or ""
    words = text.partition("\n")[0].partition(": ")[2]
    return words[:1].upper() + words[1:]


def normalised(name: str) -> str:
    """Turn a folder's name into an environment's: lower-case letters, digits and single hyphens.

    Raises:
        UsageError: nothing is left of it.
    """
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not text:
        raise UsageError(f"{name!r} holds no letter or digit to name an environment by", hint="hud init my-env")
    return text


def scaffold(template: Path, env_name: str) -> dict[str, File]:
    """Give the files of a template by relative path, named for `env_name`, with the project's own wheel beside them."""
    from hud_cli import wheel

    identifier = env_name.replace("-", "_")
    if identifier[0].isdigit():
        identifier = f"_{identifier}"
    files = {}
    for path in sorted(template.rglob("*")):
        relative = path.relative_to(template)
        if not path.is_file() or _LEFT_OUT.intersection(relative.parts) or path.suffix in (".pyc", ".whl"):
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            content = content.replace(_NAME, env_name.encode()).replace(_IDENTIFIER, identifier.encode())
        files[relative.as_posix()] = File(content, os.access(path, os.X_OK))
    built = wheel.build()
    files[built.name] = File(built.content, False)
    return files


def write(target: Path, files: Mapping[str, File]) -> None:
    """Write all files below `target`, each beside and renamed; what was made is removed when one fails.

    Raises:
        HudError: the disk is full, or the place may not be written.
    """
    made: list[Path] = []
    try:
        for relative, file in files.items():
            path = target / relative
            _make_folders(path.parent, made)
            existed = os.path.lexists(path)
            beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            made.append(beside)
            beside.write_bytes(file.content)
            beside.chmod(0o755 if file.executable else 0o644)
            beside.replace(path)
            made.remove(beside)
            if not existed:
                made.append(path)
    except BaseException as error:
        for path in reversed(made):
            _discard(path)
        if isinstance(error, OSError):
            raise HudError(f"cannot write {error.filename or target}: {error.strerror}") from error
        raise
    # An older wheel of ours would be installed beside the new one.
    for old in target.glob("hud_cli-*-py3-none-any.whl"):
        if old.name not in files:
            old.unlink()


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        made.append(path)


def _discard(path: Path) -> None:
    try:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    except OSError:  # never made, or somebody put something in it
        pass


def _target(parent: str, name: str) -> tuple[Path, str]:
    """Give the folder to make and the environment's name."""
    if name == ".":
        folder = Path(parent)
        return folder, normalised(folder.resolve().name)
    if "/" in name or os.sep in name or name == "..":
        raise UsageError(
            f"NAME is one folder, got {name!r}", hint=f"hud init {Path(name).name} --dir {Path(name).parent}"
        )
    return Path(parent, name), normalised(name)


def _refuse_occupied(target: Path, *, force: bool) -> None:
    if target.is_dir():
        if not force and any(target.iterdir()):
            raise HudError(
                f"{target} is not empty", hint="--force writes into it; files of the same names are replaced"
            )
    elif os.path.lexists(target):
        raise HudError(f"{target} is there and is no folder")


def _list(known: dict[str, Path], *, as_json: bool) -> int:
    if as_json:
        output.document([{"name": name, "summary": summary(path)} for name, path in known.items()])
    else:
        output.data("".join(f"{name}\t{summary(path)}\n" for name, path in known.items()))
    return 0


def _ask(known: dict[str, Path]) -> tuple[str, str]:
    """Let somebody at a terminal choose a template and a name.

    Raises:
        NotFoundError: the input ended without a choice.
    """
    names = [*known]
    column = max(map(len, names)) + 2
    output.note(output.painted("Templates", "bold"))
    for number, name in enumerate(names, 1):
        output.note(f"  {number}  {name.ljust(column)}{summary(known[name])}")
    try:
        chosen = None
        while chosen is None:
            chosen = _choice(output.ask(f"Template (1-{len(names)}) [1]: ").strip() or "1", names)
        return chosen, output.ask(f"Name [hud-{chosen}]: ").strip() or f"hud-{chosen}"
    except EOFError:
        raise NotFoundError("no template was chosen", hint="hud init my-env --template blank") from None


def _choice(text: str, names: list[str]) -> str | None:
    if text in names:
        return text
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    output.note(f"{text!r} is none of them.")
    return None


def _tell(target: Path, env_name: str, template: str, *, number: int) -> None:
    steps = [] if target.resolve() == Path.cwd() else [f"cd {_quoted(str(target))}"]
    steps += [
        "hud task list",
        f"docker build -f Dockerfile.hud -t {env_name} .",
        f"docker run -d --name run1 {env_name}",
        "docker exec run1 hud task list",
    ]
    output.note(f"Made {target} from the template {template}: {number} files. README.md says more. Next:\n")
    output.note("\n".join(f"    {step}" for step in steps))


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)
