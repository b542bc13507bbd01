"""`hud env`: the environments that a platform has, and their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import NotFoundError
from hud_cli import output
from hud_cli.confirmation import agreed

if TYPE_CHECKING:
    from hud.platform.records import EnvironmentRecord, VersionRecord

__all__ = ["app"]

app = typer.Typer(
    name="env",
    help="Environments on a platform and their versions.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_Name = Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="Its name or id.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")]


@app.command("list")
def list_environments(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print names alone.")] = False,
    json: _Json = False,
) -> int:
    """List the environments, with the version that runs."""
    from hud.platform import environments
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        found = list(environments.list_environments(platform))
    if json:
        output.document([_row(record) for record in found])
    elif quiet:
        output.data("".join(f"{record.name}\n" for record in found))
    elif not found:
        output.note("There is no environment. Make one: hud deploy")
    else:
        output.data(output.table([_cells(record) for record in found]))
    return 0


@app.command("show")
def show(name: _Name, json: _Json = False) -> int:
    """Show an environment and its versions, newest first."""
    from dataclasses import asdict

    from hud.platform import environments
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        record = environments.find(platform, name)
        has_versions = "environments" in platform.extensions
        versions = list(environments.versions(platform, record)) if has_versions else []
    if json:
        listed = [asdict(version) for version in versions] if has_versions else None
        output.document({**_row(record), "versions": listed})
        return 0
    output.note(f"{record.name}  {record.id}")
    if versions:
        output.data(output.table([_version_cells(version) for version in versions]))
    elif has_versions:
        output.note("It has no version yet: no build of it succeeded.")
    else:
        output.data(output.table([_cells(record)]))
        output.note(f"{platform.origin} does not list versions.")
    return 0


@app.command("rollback")
def rollback(
    name: _Name,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="Its number [default: the one before the current one].")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: _Json = False,
) -> int:
    """Go back to an earlier version: its image becomes the next version, and nothing is lost."""
    from dataclasses import asdict

    from hud.platform import environments
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        record = environments.find(platform, name)
        if version is None:
            version = _before_current(list(environments.versions(platform, record)), record.name)
        if not yes and not agreed(f"run version {version} of {record.name} again", as_json=json):
            output.note("Nothing was changed.")
            return 0
        made = environments.rollback(platform, record, version)
    if json:
        output.document(asdict(made))
    else:
        output.note(f"{record.name} runs the image of version {version} again, as version {made.version}.")
    return 0


def _before_current(versions: list[VersionRecord], name: str) -> int:
    current = next((version for version in versions if version.current), None)
    earlier = [version for version in versions if current is not None and version.version < current.version]
    if not earlier:
        raise NotFoundError(f"{name} has no earlier version", hint=f"hud env show {name}")
    return earlier[0].version


def _row(record: EnvironmentRecord) -> dict[str, object]:
    build = record.latest_build
    return {
        "name": record.name,
        "id": record.id,
        "version": build.version if build else None,
        "digest": build.digest if build else None,
        "uri": build.uri if build else None,
        "created_at": build.created_at if build else record.created_at,
    }


def _cells(record: EnvironmentRecord) -> list[str]:
    row = _row(record)
    version = "no version" if row["version"] is None else f"version {row['version']}"
    return [record.name, version, str(row["digest"] or "")[:19], output.moment(str(row["created_at"] or ""))]


def _version_cells(version: VersionRecord) -> list[str]:
    origin = "" if version.rolled_back_to is None else f"as version {version.rolled_back_to}"
    return [
        "*" if version.current else " ",
        str(version.version),
        output.moment(version.created_at),
        version.digest[:19],
        output.amount(version.size_bytes),
        (version.source_revision or "")[:12],
        ", ".join(version.tasks),
        origin,
    ]
