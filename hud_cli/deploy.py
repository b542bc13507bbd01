"""`hud deploy`: pack the context, build it on a platform, and register the environment by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import HudError, UsageError
from hud_cli import output

if TYPE_CHECKING:
    from hud_cli.deploy_run import Run

__all__ = ["deploy"]

_HERE = Path()


def deploy(
    directory: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The environment's folder, or its env.py.", show_default=False),
    ] = _HERE,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="Deploy each folder in FOLDER that has a Dockerfile; 1 if any fails.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Which environment, where the code declares several.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable of the environment; repeatable."),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="FILE", help="Variables of the environment; others keep their values."),
    ] = None,
    no_env: Annotated[bool, typer.Option("--no-env", help="Leave the folder's .env alone.")] = False,
    build_arg: Annotated[
        list[str] | None, typer.Option("--build-arg", metavar="NAME=VALUE", help="A build argument; repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="SECRET", help="id=NAME,env=VARIABLE or id=NAME,src=FILE; repeatable."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step of the Dockerfile again.")] = False,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Name or id of a project, for this one time.")
    ] = None,
    registry_id: Annotated[
        str | None,
        typer.Option("--registry-id", metavar="ENVIRONMENT", help="Deploy to this environment, whatever its name."),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", metavar="RUNTIME", help="Where its tasks run by default: hud or modal.")
    ] = None,
    runtime_config: Annotated[
        Path | None,
        typer.Option("--runtime-config", metavar="FILE", help="Resources and limits of its tasks, as JSON."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, send nothing.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. It does not agree to send .env: see --env-file.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what build steps print, on a terminal too.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Build an environment on a platform and register it by its name.

    Sends only what changed, shows the build as it happens, and exits with 0 once the environment is registered and
    has answered. Ctrl-C during the build offers to cancel it; where nobody can be asked, it cancels.
    """
    if runtime not in (None, "hud", "modal"):
        raise UsageError(f"--runtime is hud or modal, got {runtime!r}")
    if env_file is not None and no_env:
        raise UsageError("--env-file and --no-env exclude each other", hint="give one of them")
    if every and (name or registry_id):
        raise UsageError("--all takes no --name or --registry-id: each folder has its own")
    from hud.platform.deployment import Options
    from hud_cli import deploy_options, deploy_report
    from hud_cli.deploy_run import Run

    run = Run(
        options=Options(
            build_args=deploy_options.pairs("--build-arg", build_arg or []),
            build_secrets=deploy_options.secrets(secret or []),
            no_cache=no_cache,
            runtime_provider=runtime,
            runtime_config=None if runtime_config is None else deploy_options.runtime_config(runtime_config),
        ),
        variables=deploy_options.pairs("--env", env or []),
        file_variables=None if env_file is None else deploy_options.file_variables(env_file),
        no_env=no_env,
        project=project,
        registry_id=registry_id,
        yes=yes,
        verbose=verbose,
        as_json=json,
    )
    if every:
        return _all(run, _deployable(directory), dry_run=dry_run)
    document = run.dry(directory, name) if dry_run else run.deploy(directory, name)
    if json:
        output.document(document)
    elif not dry_run:
        deploy_report.show_summary(document)
    return 0


def _deployable(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise UsageError(f"--all takes a folder, got {directory}")
    found = [
        folder
        for folder in sorted(directory.iterdir())
        if (folder / "Dockerfile.hud").is_file() or (folder / "Dockerfile").is_file()
    ]
    if not found:
        raise HudError(f"no folder in {directory} has a Dockerfile.hud or Dockerfile", hint="hud init my-env")
    return found


def _all(run: Run, folders: list[Path], *, dry_run: bool) -> int:
    """Deploy one folder after the other; one that fails does not stop the next."""
    from hud_cli import deploy_report

    documents = []
    failed = 0
    for folder in folders:
        output.note(output.painted(str(folder), "bold"))
        try:
            document = run.dry(folder, None) if dry_run else run.deploy(folder, None)
        except HudError as error:
            failed += 1
            document = {"error": error.kind, "message": str(error), "suggestion": error.hint}
            output.error(error, as_json=False)
        documents.append({**document, "folder": str(folder)})
    if run.as_json:
        output.document(documents)
    else:
        deploy_report.show_all(documents)
    return 1 if failed else 0
