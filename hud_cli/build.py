"""`hud build`: builds on a platform: list, follow, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hud_cli import output

if TYPE_CHECKING:
    from hud.platform.records import BuildFrame, BuildRecord, BuildStatus

__all__ = ["app"]

app = typer.Typer(
    name="build",
    help="Builds on a platform: list, follow, cancel.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_Build = Annotated[str, typer.Argument(metavar="BUILD", help="Its id, as `hud deploy` and `hud build list` show it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")]


@app.command("list")
def list_builds(
    environment: Annotated[
        str | None, typer.Option("--env", metavar="ENVIRONMENT", help="Those of this one: its name or id.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="NUMBER", help="How many.")] = 20,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print ids alone.")] = False,
    json: _Json = False,
) -> int:
    """List builds, newest first."""
    from dataclasses import asdict
    from itertools import islice

    from hud.platform import builds, environments
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        one = None if environment is None else environments.find(platform, environment).id
        found = list(islice(builds.list_builds(platform, environment_id=one), limit))
    if json:
        output.document([asdict(record) for record in found])
    elif quiet:
        output.data("".join(f"{record.id}\n" for record in found))
    elif not found:
        output.note("There is no build. Start one: hud deploy")
    else:
        output.data(output.table([_cells(record) for record in found]))
    return 0


@app.command("logs")
def logs(
    build: _Build,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on until the build ends.", show_default=True)
    ] = True,
    json: _Json = False,
) -> int:
    """Print the log of a build from its beginning; exits with 1 when the build did not succeed."""
    from hud.platform import builds
    from hud.platform import logs as build_logs
    from hud.platform.client import Platform
    from hud_cli.build_view import BuildView, shown

    frames: list[dict[str, object]] = []
    with Platform.connect(notice=output.note) as platform:
        status = builds.status(platform, build)
        with BuildView(say=lambda line: output.data(f"{line}\n")) as view:
            for frame in build_logs.follow(platform, build, notice=output.note, until_now=not follow):
                if json:
                    frames.append(_set_fields(frame))
                else:
                    view.show(frame)
        status = build_logs.wait(platform, build) if follow else builds.status(platform, build)
    is_running = builds.is_running(status)
    if json:
        output.document({"id": build, **_set_fields(status), "log": frames})
    elif not is_running:
        reason = f", {shown(status.error_message)}" if status.error_message else ""
        output.note(f"The build ended: {shown(status.status)}{reason}")
    return 0 if is_running or status.status == "SUCCEEDED" else 1


@app.command("cancel")
def cancel(build: _Build, json: _Json = False) -> int:
    """Cancel a build; one that has ended stays as it is."""
    from hud.platform import builds
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        builds.status(platform, build)  # one that is not there is an error, and none that has ended
        stopped = builds.cancel(platform, build)
    if json:
        output.document({"id": build, "cancelled": stopped})
    else:
        output.note("The build is cancelled." if stopped else "The build had ended.")
    return 0


def _set_fields(record: BuildStatus | BuildFrame) -> dict[str, object]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(record).items() if value is not None}


def _cells(record: BuildRecord) -> list[str]:
    status = "QUEUED" if record.queued else record.status
    version = "" if record.version is None else f"version {record.version}"
    reason = (record.error_message or "").partition("\n")[0]
    return [record.id, record.registry_name, status, version, output.moment(record.created_at), reason[:60]]
