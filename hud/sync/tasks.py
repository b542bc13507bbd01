"""Task rows here against a taskset on a platform: find it, compare, and carry the plan out.

Source: platform API specification, section 7; command-line specification, section 4.8.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from hud.errors import HudError, NotFoundError, UsageError
from hud.platform import tasksets
from hud.platform.client import Platform
from hud.platform.records import TasksetRecord, TaskUploadReply
from hud.sync.difference import Change, difference
from hud.sync.plan import SyncPlan
from hud.sync.records import upload_row
from hud.sync.remote import RemoteRows, fetch
from hud.sync.rows import LocalRows

__all__ = ["Comparison", "carry_out", "compare", "differences"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both sides of a sync, and what it would do.

    Attributes:
        name: The taskset's.
        taskset_id: None for a taskset that the upload makes.
        project_id: Where the upload goes; None leaves it to the platform.
    """

    name: str
    taskset_id: str | None
    project_id: str | None
    local: LocalRows
    remote: RemoteRows
    plan: SyncPlan


def compare(
    platform: Platform,
    local: LocalRows,
    taskset: TasksetRecord | str,
    *,
    project_id: str | None = None,
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    force: bool = False,
    prune: bool = False,
) -> Comparison:
    """Compare local rows with a taskset and plan what to send.

    Args:
        taskset: The one that is there, or the name of the one to make.
        only: Slugs to look at; none for all.
        exclude: Slugs to leave alone, on either side.
        force: Send what is equal, too.
        prune: Remove what only the platform has; of a platform that can.

    Raises:
        NotFoundError: there are no rows here, or none of a slug in `only`.
        HudError: the platform cannot remove rows.
    """
    if not local.digests:
        raise NotFoundError(f"no task rows found in {local.source}", hint="hud task list shows what a source declares")
    for slug in only:
        if slug not in local.digests:
            close = get_close_matches(slug, local.digests, n=1) if len(local.digests) <= 10_000 else []
            hint = f"did you mean {close[0]}?" if close else "hud task list shows the slugs"
            raise NotFoundError(f"no task {slug!r} in {local.source}", hint=hint)
    if prune:
        platform.need("tasksets", what="the removal of rows (--prune)")
    remote = RemoteRows.none() if isinstance(taskset, str) else fetch(platform, taskset, local.digests)
    left = set(exclude)
    if only:
        left |= (local.digests.keys() | remote.digests.keys()) - set(only)
    return Comparison(
        name=taskset if isinstance(taskset, str) else taskset.name,
        taskset_id=None if isinstance(taskset, str) else taskset.id,
        project_id=project_id,
        local=local,
        remote=remote,
        plan=SyncPlan.between(local.digests, remote.digests, leave=left, force=force, prune=prune),
    )


def differences(comparison: Comparison) -> Iterator[tuple[str, list[Change]]]:
    """Give what changes in each row that is updated, by slug in the order of the plan.

    Raises:
        HudError: the local file has changed since, or the platform does not answer.
    """
    changed = [slug for slug in comparison.plan.update if not _is_equal(comparison, slug)]
    here = {row["slug"]: row for row in comparison.local.rows(changed)}
    there = {row["slug"]: row for row in comparison.remote.rows(changed)}
    for slug in changed:
        if slug not in there:  # removed on the platform since it was compared
            raise HudError(f"task {slug!r} has left taskset {comparison.name!r} meanwhile", hint="run it again")
        yield slug, difference(there[slug], here[slug])


def carry_out(
    platform: Platform,
    comparison: Comparison,
    *,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> TaskUploadReply:
    """Upload what the plan says, all of it or nothing.

    Args:
        force: Also where somebody else has synced since the comparison.
        progress: Told how many rows have arrived, now and then.

    Raises:
        UsageError: the plan has nothing to do.
        PlatformError: the platform refused; of kind `conflict` when somebody else has synced meanwhile.
        HudError: the local file has changed since the comparison.
    """
    plan = comparison.plan
    if plan.is_up_to_date:
        raise UsageError(f"taskset {comparison.name!r} is up to date: there is nothing to upload")
    tasks = map(upload_row, comparison.local.rows(plan.sent))
    if "tasksets" not in platform.extensions:
        return tasksets.upload(
            platform,
            tasks,
            name=comparison.name,
            taskset_id=comparison.taskset_id,
            project_id=comparison.project_id,
        )
    return tasksets.upload_in_batches(
        platform,
        tasks,
        name=comparison.name,
        taskset_id=comparison.taskset_id,
        project_id=comparison.project_id,
        remove=plan.remove,
        base_digest=None if force else comparison.remote.base_digest,
        progress=progress,
    )


def _is_equal(comparison: Comparison, slug: str) -> bool:
    """Whether a row is updated only because that is forced."""
    return comparison.local.digests[slug] == comparison.remote.digests[slug]
