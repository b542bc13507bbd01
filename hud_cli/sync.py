"""`hud sync`: task rows here against a taskset on a platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import NotFoundError, UsageError
from hud_cli import output
from hud_cli.confirmation import agreed

if TYPE_CHECKING:
    from hud.platform.client import Platform
    from hud.platform.records import RevisionRecord, TasksetRecord

__all__ = ["app"]

app = typer.Typer(
    name="sync",
    help="Send task rows to a platform: only what changed.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_HERE = Path()
_MOST_CHOICES = 50
_Taskset = Annotated[
    str | None, typer.Argument(metavar="TASKSET", help="Its name or id [default: the one of this folder's link].")
]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, change nothing.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids alone.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")]


@app.callback(invoke_without_command=True)
def sync(context: typer.Context, yes: _Yes = False, dry_run: _DryRun = False, json: _Json = False) -> int:
    """Send task rows to a platform: only what changed.

    Without a command, the rows of this folder go to the taskset that it is linked to.
    """
    if context.invoked_subcommand is not None:
        if yes or dry_run or json:
            word = context.invoked_subcommand
            raise UsageError(f"options of `hud sync {word}` come after {word!r}", hint=f"hud sync {word} --yes")
        return 0
    return tasks(yes=yes, dry_run=dry_run, json=json)


@app.command("tasks")
def tasks(
    taskset: _Taskset = None,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Task rows: a .py file, a folder, a .json, .jsonl or exported .csv file.",
            show_default=False,
        ),
    ] = ".",
    only: Annotated[
        list[str] | None, typer.Option("--task", metavar="SLUG", help="Sync this row alone; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="SLUG", help="Leave this row alone; repeatable.")
    ] = None,
    yes: _Yes = False,
    dry_run: _DryRun = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 when the taskset is out of date.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what changes in each row, field by field.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Upload every row, also over what somebody else has synced meanwhile.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the rows that only the platform has; it asks before it does.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write the platform's rows to a .json, .jsonl or .csv instead."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Sync again, without asking, whenever the source changes; Ctrl-C ends it.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Link this folder to the taskset, also when it is linked to another.")
    ] = False,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Name or id of a project, for this one time.")
    ] = None,
    json: _Json = False,
) -> int:
    """Compare task rows with a taskset and upload what differs.

    A taskset that is named and not there is made. Rows that only the platform has stay, unless --prune says
    otherwise. Where nobody can be asked and something would change, --yes is needed (exit code 2).
    """
    _refuse_contradictions(check=check, dry_run=dry_run, export=export is not None, watch=watch, prune=prune, yes=yes)
    from hud.platform.client import Platform
    from hud.sync.target import resolve

    with Platform.connect(notice=output.note) as platform:
        if export is not None:
            return _export(platform, taskset, export, json=json)
        from hud_cli.sync_run import Run

        run = Run(
            platform=platform,
            source=source,
            target=resolve(platform, taskset, folder=_HERE, project=project),
            only=only or [],
            exclude=exclude or [],
            force=force,
            prune=prune,
            diff=diff,
            link=link,
            as_json=json,
        )
        if watch:
            return run.watch()
        if check or dry_run:
            return run.plan(fail_when_out_of_date=check)
        return run.once(yes=yes)


@app.command("env")
def env(
    name: Annotated[
        str | None, typer.Argument(metavar="ENVIRONMENT", help="Its name or id; without one, choose on a terminal.")
    ] = None,
    directory: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder to link.", show_default=False)
    ] = _HERE,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    json: _Json = False,
) -> int:
    """Link a folder to an environment on a platform."""
    if name is None and (json or not output.is_interactive()):
        raise UsageError("name the environment to link to", hint="hud sync env NAME")
    if not directory.is_dir():
        raise NotFoundError(f"no such folder: {directory}")
    from hud.platform import environments
    from hud.platform.client import Platform
    from hud.sync.environments import keep

    with Platform.connect(notice=output.note) as platform:
        found = environments.find(platform, _chosen(platform) if name is None else name)
        stored = None if dry_run else keep(platform, directory, found)
    if json:
        output.document({"registry_id": found.id, "name": found.name, "dry_run": dry_run})
    elif stored is None:
        output.note(f"{directory.resolve()} would be linked to the environment {found.name} ({found.id}).")
    else:
        output.note(f"{stored.path} links to the environment {found.name} ({found.id}) now.")
    return 0


@app.command("list")
def list_tasksets(
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Only those whose name contains it.")
    ] = None,
    quiet: _Quiet = False,
    json: _Json = False,
) -> int:
    """List the tasksets of a platform."""
    from dataclasses import asdict

    from hud.platform import tasksets
    from hud.platform.client import Platform

    with Platform.connect(notice=output.note) as platform:
        found = list(tasksets.list_tasksets(platform, search=search))
    if json:
        output.document([asdict(record) for record in found])
    elif quiet:
        output.data("".join(f"{record.id}\n" for record in found))
    elif not found:
        output.note("There is no taskset. Make one: hud sync tasks NAME")
    else:
        output.data(output.table([_taskset_cells(record) for record in found]))
    return 0


@app.command("history")
def history(taskset: _Taskset = None, json: _Json = False) -> int:
    """List the revisions of a taskset, newest first."""
    from dataclasses import asdict

    from hud.platform import tasksets
    from hud.platform.client import Platform
    from hud.sync.target import existing

    with Platform.connect(notice=output.note) as platform:
        record = existing(platform, taskset, folder=_HERE)
        found = list(tasksets.revisions(platform, record.id))
    if json:
        output.document([asdict(revision) for revision in found])
    elif not found:
        output.note(f"Taskset {record.name} is empty and has no revision yet.")
    else:
        output.data(output.table([_revision_cells(revision) for revision in found]))
    return 0


@app.command("rollback")
def rollback(
    taskset: Annotated[str, typer.Argument(metavar="TASKSET", help="Its name or id.")],
    revision: Annotated[int, typer.Argument(metavar="REVISION", help="A number that `hud sync history` shows.")],
    yes: _Yes = False,
    json: _Json = False,
) -> int:
    """Go back to an earlier revision of a taskset.

    Its rows become a new revision; nothing that came after it is lost.
    """
    from dataclasses import asdict

    from hud.platform import tasksets
    from hud.platform.client import Platform
    from hud.sync.target import existing

    with Platform.connect(notice=output.note) as platform:
        platform.need("tasksets", what="going back to an earlier revision of a taskset")
        record = existing(platform, taskset, folder=_HERE)
        deed = f"put revision {revision} of {record.name} in the place of revision {record.revision}"
        if not yes and not agreed(deed, as_json=json):
            output.note("Nothing was changed.")
            return 0
        made = tasksets.rollback(platform, record.id, revision)
    if json:
        output.document(asdict(made))
    else:
        output.note(f"Taskset {record.name} has the rows of revision {revision} again, as revision {made.revision}.")
    return 0


def _refuse_contradictions(*, check: bool, dry_run: bool, export: bool, watch: bool, prune: bool, yes: bool) -> None:
    modes = {"--check": check, "--dry-run": dry_run and not check, "--export": export, "--watch": watch}
    given = [name for name, is_given in modes.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other", hint="give one of them")
    if watch and prune and not yes:
        raise UsageError("--watch with --prune removes rows without asking", hint="add --yes to agree to that")


def _export(platform: Platform, reference: str | None, path: Path, *, json: bool) -> int:
    from hud.sync.export import check_format, write
    from hud.sync.remote import export_rows
    from hud.sync.target import existing

    check_format(path)
    taskset = existing(platform, reference, folder=_HERE)
    number = write(path, export_rows(platform, taskset))
    if json:
        document = {"action": "export", "taskset": taskset.name, "taskset_id": taskset.id, "path": str(path)}
        output.document({**document, "task_count": number})
    else:
        output.note(f"Wrote {number:,} rows of taskset {taskset.name} to {path}.")
    return 0


def _chosen(platform: Platform) -> str:
    """Let somebody at a terminal choose an environment, and give its id.

    Raises:
        NotFoundError: there is none, or the input ended without a choice.
    """
    from itertools import islice

    from hud.platform.environments import list_environments

    found = list(islice(list_environments(platform, newest_first=True), _MOST_CHOICES))
    if not found:
        raise NotFoundError("there is no environment to link to", hint="hud deploy registers one")
    output.note("\n".join(f"  {number}  {record.name}" for number, record in enumerate(found, 1)))
    try:
        while True:
            answer = output.ask(f"Environment (1-{len(found)}): ").strip()
            if answer.isdecimal() and 1 <= int(answer) <= len(found):
                return found[int(answer) - 1].id
            output.note(f"{answer!r} is none of them.")
    except EOFError:
        raise NotFoundError("no environment was chosen", hint="hud sync env NAME") from None


def _taskset_cells(record: TasksetRecord) -> list[str]:
    rows = "" if record.tasks is None else f"{record.tasks:,} rows"
    return [record.name, record.id, rows, "" if record.revision is None else f"revision {record.revision}"]


def _revision_cells(record: RevisionRecord) -> list[str]:
    changes = f"+{record.created} ~{record.updated} -{record.removed}"
    origin = "" if record.rolled_back_to is None else f"as revision {record.rolled_back_to}"
    return [
        "*" if record.current else " ",
        str(record.revision),
        output.moment(record.created_at),
        f"{record.tasks:,} rows",
        changes,
        record.digest[:12],
        record.key_name or "",
        origin,
    ]
