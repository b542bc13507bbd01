"""What `hud sync tasks` says: the plan, the differences, what was uploaded; for people and as a document."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hud.sync.difference import lines, path_text, shown
from hud.sync.tasks import differences
from hud_cli import output

if TYPE_CHECKING:
    from hud.platform.records import TaskUploadReply
    from hud.sync.tasks import Comparison

__all__ = ["Progress", "deed", "document", "reply_document", "show_plan", "show_reply"]

_MOST_SLUGS = 20
_BETWEEN_NOTES_S = 1.0


class Progress:
    """Tells how much has arrived: on a terminal, and not more than once a second."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._told = time.monotonic()

    def __call__(self, arrived: int) -> None:
        now = time.monotonic()
        if now - self._told >= _BETWEEN_NOTES_S and output.is_interactive():
            self._told = now
            output.note(f"  {arrived:,} of {self._total:,} rows")


def show_plan(comparison: Comparison, *, diff: bool) -> None:
    """Print the plan: a count of each kind, and the slugs of what would change."""
    plan = comparison.plan
    changed = {slug: list(lines(changes)) for slug, changes in differences(comparison)} if diff else {}
    output.data(f"Create: {len(plan.create)}\n{_listed('+', 'green', plan.create)}")
    output.data(f"Update: {len(plan.update)}\n")
    if diff:
        for slug in plan.update:
            output.data(_line("~", "yellow", slug))
            output.data("".join(f"      {line}\n" for line in changed.get(slug, ["sent again: nothing differs"])))
    else:
        output.data(_listed("~", "yellow", plan.update))
    output.data(f"Unchanged: {len(plan.unchanged)}\n")
    if plan.remove:
        output.data(f"Remove: {len(plan.remove)}\n{_listed('-', 'red', plan.remove)}")
    else:
        output.data(f"Remote-only: {len(plan.remote_only)}\n")


def show_reply(comparison: Comparison, reply: TaskUploadReply) -> None:
    """Say what an upload did."""
    removed = f", {reply.tasks_removed} removed" if comparison.plan.remove else ""
    revision = f" It is at revision {reply.revision}." if reply.revision is not None else ""
    output.note(
        f"Synced taskset {shown(comparison.name)} ({reply.taskset_id}): {reply.tasks_created} created, "
        f"{reply.tasks_updated} updated{removed}.{revision}"
    )


def deed(comparison: Comparison) -> str:
    """Give the deed that somebody has to agree to."""
    plan = comparison.plan
    name = shown(comparison.name)
    removal = f"remove {_rows(len(plan.remove))}"
    if not plan.sent:
        return f"{removal} from {name}"
    return f"upload {_rows(len(plan.sent))} to {name}{f' and {removal}' if plan.remove else ''}"


def document(comparison: Comparison, *, diff: bool) -> dict[str, Any]:
    """Give the plan as data; the counts have the names that the public client gives them."""
    plan = comparison.plan
    found: dict[str, Any] = {"taskset": comparison.name, "taskset_id": comparison.taskset_id}
    found |= {f"{name}_count": number for name, number in plan.counts().items()}
    found |= {name: list(getattr(plan, name)) for name in ("create", "update", "remote_only", "remove")}
    if diff:
        found["changes"] = {
            slug: [
                {"path": path_text(change.path), "kind": change.kind, "before": change.before, "after": change.after}
                for change in changes
            ]
            for slug, changes in differences(comparison)
        }
    return found


def reply_document(reply: TaskUploadReply) -> dict[str, Any]:
    """Give what an upload did as data."""
    return {
        "taskset_id": reply.taskset_id,
        "tasks_created": reply.tasks_created,
        "tasks_updated": reply.tasks_updated,
        "tasks_removed": reply.tasks_removed,
        "revision": reply.revision,
    }


def _listed(sign: str, colour: str, slugs: Sequence[str]) -> str:
    more = len(slugs) - _MOST_SLUGS
    text = "".join(_line(sign, colour, slug) for slug in slugs[:_MOST_SLUGS])
    return text + (f"  {sign} … {more:,} more\n" if more > 0 else "")


def _line(sign: str, colour: str, slug: str) -> str:
    return f"  {output.painted(sign, colour, stream='stdout')} {shown(slug)}\n"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"
