"""`hud project`: where new environments and tasksets go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hud_cli import output

if TYPE_CHECKING:
    from hud.platform.records import ProjectRecord

__all__ = ["app"]

app = typer.Typer(
    name="project",
    help="Projects of a platform.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_Folder = Annotated[
    Path, typer.Option("--directory", "-C", metavar="FOLDER", help="The folder that is linked.", show_default=False)
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids alone.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")]


@app.command("list")
def list_projects(directory: _Folder = Path(), quiet: _Quiet = False, json: _Json = False) -> int:
    """List the projects that the key may see.

    A star marks the one that this folder uses.
    """
    from hud.platform import link, projects
    from hud.platform.client import Platform

    linked = link.read(directory).project_id
    with Platform.connect(notice=output.note) as platform:
        found = list(projects.list_projects(platform))
    if json:
        output.document([_document(project) for project in found])
    elif quiet:
        output.data("".join(f"{project.id}\n" for project in found))
    else:
        _show(found, linked=linked)
    return 0


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The project's name.")],
    description: Annotated[
        str | None, typer.Option("--description", "-d", metavar="TEXT", help="What it is for.")
    ] = None,
    quiet: _Quiet = False,
    json: _Json = False,
) -> int:
    """Make a project."""
    from hud.platform import projects
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        project = projects.create(platform, name, description=description)
    return _tell(project, f"Made the project {project.name} ({project.id}).", quiet=quiet, json=json)


@app.command("use")
def use(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="A name or an id.")],
    directory: _Folder = Path(),
    quiet: _Quiet = False,
    json: _Json = False,
) -> int:
    """Use a project for what this folder deploys and syncs from now on.

    The choice is kept in the folder's .hud/config.json.
    """
    from hud.platform import identity, link, projects
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        scope = identity.scope(platform, identity.me(platform))
        stored = link.read(directory).within(scope)
        chosen = projects.resolve_project(platform, project, stored, platform.settings)
        assert chosen is not None
    link.save(directory, scope, project_id=chosen.id)
    return _tell(chosen, f"{stored.path} uses the project {chosen.name} ({chosen.id}) now.", quiet=quiet, json=json)


def _tell(project: ProjectRecord, sentence: str, *, quiet: bool, json: bool) -> int:
    if json:
        output.document(_document(project))
    elif quiet:
        output.data(f"{project.id}\n")
    else:
        output.note(sentence)
    return 0


def _document(project: ProjectRecord) -> dict[str, object]:
    return asdict(project)


def _show(found: list[ProjectRecord], *, linked: str | None) -> None:
    if not found:
        output.note("There is no project. Make one: hud project create NAME")
        return
    column = max(len(project.name) for project in found)
    for project in found:
        mark = "*" if project.id == linked else " "
        words = [
            *(["default"] if project.is_default else []),
            *([] if project.capabilities.create else ["read only"]),
        ]
        output.data(f"{mark} {project.name.ljust(column)}  {project.id}  {', '.join(words)}".rstrip() + "\n")
