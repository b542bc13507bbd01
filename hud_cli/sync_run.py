"""One `hud sync tasks`: compare, show the plan, ask, upload; once or whenever the source changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hud.errors import HudError, NotAuthorisedError
from hud.platform.records import TasksetRecord, TaskUploadReply
from hud.sync.difference import shown
from hud.sync.rows import load
from hud.sync.target import keep
from hud.sync.tasks import Comparison, carry_out, compare
from hud_cli import output, sync_report
from hud_cli.confirmation import agreed

if TYPE_CHECKING:
    from hud.platform.client import Platform
    from hud.sync.target import Target

__all__ = ["Run"]

_TOLD_ROWS = 5000  # from here on an upload may take over a second
_TICK_MS = 200


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one call of the command was asked for; see its options."""

    platform: Platform
    source: str
    target: Target
    only: list[str]
    exclude: list[str]
    force: bool
    prune: bool
    diff: bool
    link: bool
    as_json: bool

    def plan(self, *, fail_when_out_of_date: bool) -> int:
        """Show what would happen and change nothing."""
        comparison = self._compared()
        up_to_date = comparison.plan.is_up_to_date
        self._show(comparison)
        if self.as_json:
            status = "up_to_date" if up_to_date else "out_of_date"
            self._document(comparison, status=status, dry_run=True)
        elif up_to_date:
            output.note(f"{_shown(comparison)} is up to date.")
        else:
            output.note(f"{_shown(comparison)} is out of date; nothing was changed.")
        return 1 if fail_when_out_of_date and not up_to_date else 0

    def once(self, *, yes: bool) -> int:
        """Show the plan, ask unless told otherwise, and carry it out."""
        comparison = self._compared()
        self._show(comparison)
        if comparison.plan.is_up_to_date:
            self._keep(comparison.taskset_id)
            if self.as_json:
                self._document(comparison, status="up_to_date")
            else:
                output.note(f"{_shown(comparison)} is up to date.")
        elif yes or agreed(sync_report.deed(comparison), as_json=self.as_json):
            self._upload(comparison)
        elif self.as_json:
            self._document(comparison, status="declined")
        else:
            output.note("Nothing was changed.")
        return 0

    def watch(self) -> int:
        """Sync now and after every change, until Ctrl-C. A source that does not load, or a fault, is told and outlived.

        Raises:
            NotAuthorisedError: the key is not accepted any more.
        """
        run = self
        is_syncing = False
        try:
            for _ in _changes(self.source):
                is_syncing = True
                run = run._synced_again()
                is_syncing = False
                output.note(f"Watching {run.source}; Ctrl-C ends it.")
        except KeyboardInterrupt:  # between two syncs it is how watching ends
            if is_syncing:
                raise
        return 0

    def _synced_again(self) -> Run:
        """Sync once, and give what to go on with: a taskset that was made now is known by its id."""
        try:
            comparison = self._compared()
            self._show(comparison)
            if comparison.plan.is_up_to_date:
                self._keep(comparison.taskset_id)
                if self.as_json:
                    self._document(comparison, status="up_to_date")
            else:
                reply = self._upload(comparison)
                made = TasksetRecord(id=reply.taskset_id, name=comparison.name)
                return replace(self, target=replace(self.target, taskset=made))
        except NotAuthorisedError:
            raise
        except HudError as error:
            output.error(error, as_json=self.as_json)  # on with the next change
        return self

    def _compared(self) -> Comparison:
        # What a source prints while it is imported, or a process that it starts, is no part of the plan.
        output.keep_stdout()
        with redirect_stdout(sys.stderr):
            local = load(self.source)
        return compare(
            self.platform,
            local,
            self.target.taskset,
            project_id=self.target.project_id,
            only=self.only,
            exclude=self.exclude,
            force=self.force,
            prune=self.prune,
        )

    def _show(self, comparison: Comparison) -> None:
        if not self.as_json:
            if comparison.taskset_id is None:
                output.note(f"There is no taskset {comparison.name!r} yet; syncing makes it.")
            sync_report.show_plan(comparison, diff=self.diff)

    def _upload(self, comparison: Comparison) -> TaskUploadReply:
        number = len(comparison.plan.sent)
        if number >= _TOLD_ROWS:
            output.note(f"Uploading {number:,} rows.")
        reply = carry_out(self.platform, comparison, force=self.force, progress=sync_report.Progress(number))
        linked = self._keep(reply.taskset_id)
        if self.as_json:
            self._document(comparison, status="synced", reply=reply)
        else:
            sync_report.show_reply(comparison, reply)
            if linked:
                output.note(f"{self.target.stored.path} links this folder to it.")
        return reply

    def _keep(self, taskset_id: str | None) -> bool:
        return taskset_id is not None and keep(self.target, taskset_id, replace=self.link)

    def _document(
        self, comparison: Comparison, *, status: str, reply: TaskUploadReply | None = None, dry_run: bool = False
    ) -> None:
        output.document(
            {
                **sync_report.document(comparison, diff=self.diff),
                "status": status,
                "dry_run": dry_run,
                **(sync_report.reply_document(reply) if reply is not None else {}),
            }
        )


def _shown(comparison: Comparison) -> str:
    return f"Taskset {shown(comparison.name)}"


def _changes(source: str) -> Iterator[None]:
    """Give one turn now and one after every change of the source, until Ctrl-C."""
    from watchfiles import PythonFilter, watch

    path = Path(source)
    is_data = path.is_file() and path.suffix != ".py"
    # An editor puts a new file in the place of the old one, so the folder is watched and not the file.
    folder = path if path.is_dir() else path.absolute().parent
    name = os.path.realpath(path)
    begun = False
    # The first turn comes with the first tick: what changes while it works is not missed.
    for changes in watch(
        folder,
        watch_filter=(lambda _, changed: os.path.realpath(changed) == name) if is_data else PythonFilter(),
        recursive=not is_data,
        rust_timeout=_TICK_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
    ):
        if changes or not begun:
            begun = True
            yield
