"""`hud cleanup`: list what rollouts and commands left behind, and remove it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import UsageError
from hud_cli import output
from hud_cli.confirmation import says_yes

if TYPE_CHECKING:
    from hud.eval.runtimes.ownership import Leftover

__all__ = ["cleanup"]

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def cleanup(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List alone, remove nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """List and remove what no living process owns.

    That is containers of rollouts that were killed, and those that a command kept. Without --yes it asks; where
    nobody can be asked, it exits with 2.
    """
    from hud.eval.runtimes import ownership

    leftovers = ownership.list_leftovers()
    if leftovers and not json:
        _show(leftovers)
    if leftovers and not dry_run and not yes and not _agreed(len(leftovers), as_json=json):
        output.note("Nothing was removed.")
        return 0
    removals = [] if dry_run else ownership.remove(leftovers)
    failures = {removal.leftover.name: removal.error for removal in removals if removal.error is not None}
    if json:
        done = {removal.leftover.name for removal in removals if removal.error is None}
        rows = [
            {
                **asdict(leftover),
                "removed": leftover.name in done,
                "message": str(failures[leftover.name]) if leftover.name in failures else None,
            }
            for leftover in leftovers
        ]
        output.document({"leftovers": rows})
    elif not leftovers:
        output.note("Nothing is left behind.")
    elif not dry_run:
        output.note(f"Removed {len(removals) - len(failures)} of {len(leftovers)}.")
    for name, error in failures.items():
        if not json:
            output.note(f"{name}: {error}")
    return 1 if failures else 0


def age(seconds: float) -> str:
    """Give an age as people say it: 45s, 12m, 3h, 2d."""
    for unit, length_s in _UNITS:
        if seconds >= length_s:
            return f"{int(seconds // length_s)}{unit}"
    return f"{int(seconds)}s"


def _show(leftovers: list[Leftover]) -> None:
    rows = [
        [row.name, row.kind, row.detail, row.state, age(row.age_s), "kept" if row.kept else "owner gone"]
        for row in leftovers
    ]
    output.data(output.table(rows))


def _agreed(number: int, *, as_json: bool) -> bool:
    """Ask on a terminal.

    Raises:
        UsageError: nobody can be asked.
        HudError: the input ended without an answer.
    """
    if as_json or not output.is_interactive():
        raise UsageError(f"removing {number} things needs a confirmation", hint="hud cleanup --yes")
    return says_yes(f"Remove {'it' if number == 1 else f'these {number}'}?")
