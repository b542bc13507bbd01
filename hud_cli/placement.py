"""Where a task command runs: on an environment that is served already, or on a child of its own.

--url                the environment there; TASK is a template id
--url and --source   the environment there; TASK is a row of the source
--source             a child that serves the source; TASK is a row of it
neither              the environment that this image serves, or something else does on this machine's port 8765
                     ($HUD_SERVE_PORT), if there is one: TASK is a template id, and failing that a row of the
                     folder at hand; else a child that serves that folder
"""

from __future__ import annotations

import os
import time

from hud.client.blocking import Connection, parse_url
from hud.errors import DeadlineError, HudError, HudProtocolError, NotFoundError, UsageError
from hud.wire import INVALID_PARAMS, INVALID_REQUEST, NOTHING_TO_GRADE, TOKEN_VARIABLE
from hud_cli import output
from hud_cli.parser import did_you_mean
from hud_cli.port import accepts, default_port, image_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from hud.eval.task import Task
    from hud_cli.spawn import Child

    Frame = dict[str, Any]

__all__ = ["IMPLICIT_TIMEOUT_S", "STARTING_TIMEOUT_S", "URL_TIMEOUT_S", "Place", "connect", "place"]

IMPLICIT_TIMEOUT_S = 10.0
"""For what listens on the default port of a workstation: it accepts already, so it should answer."""
URL_TIMEOUT_S = 60.0
STARTING_TIMEOUT_S = 120.0
"""For an environment that is being started: a child of ours, or the one an image serves."""

_HERE = "."
_NOTICE_S = 1.0


class Place:
    """An open channel and how TASK is looked up for it; leaving it disconnects and stops a child of ours.

    Attributes:
        row: The row that TASK names, where it names one; otherwise TASK is a template id.
        source: Where TASK may turn out to be a row after all, or None.
        child: The served child, when there is one.
    """

    def __init__(
        self, channel: Connection, *, row: Task | None = None, source: str | None = None, child: Child | None = None
    ) -> None:
        self.channel = channel
        self.row = row
        self.source = source
        self.child = child

    @property
    def ends_with_us(self) -> bool:
        """Whether a started task is gone when the command ends."""
        return self.child is not None

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.channel.close()
        if self.child is not None:
            self.child.stop()

    def start(self, reference: str, args: Frame | None) -> Frame:
        """Start a task and give the frame that holds its prompt."""
        wanted = self._first_reading(reference, args)
        try:
            return self._call("tasks.start", wanted)
        except HudProtocolError as error:
            return self._call("tasks.start", self._second_reading(reference, args, error))

    def grade(self, reference: str, args: Frame | None, answer: str) -> Frame:
        """Grade the parked run of a task; when there is none, start it and grade that (CC-59)."""
        if self.child is not None:  # it was started just now: nothing can be parked there
            return self.run(reference, args, answer)
        wanted = self._first_reading(reference, args)
        frame = self._grade_parked(answer, wanted)
        if frame is not None:
            return frame
        try:
            self._call("tasks.start", wanted)
        except HudProtocolError as error:
            wanted = self._second_reading(reference, args, error)
            frame = self._grade_parked(answer, wanted)
            if frame is not None:
                return frame
            self._call("tasks.start", wanted)
        return self._call("tasks.grade", {"answer": answer})

    def run(self, reference: str, args: Frame | None, answer: str) -> Frame:
        """Start a task and grade it, whatever is parked."""
        self.start(reference, args)
        return self._call("tasks.grade", {"answer": answer})

    def task_rows(self) -> list[Frame]:
        """Give the templates that the environment lists."""
        rows = self._call("tasks.list", {}).get("tasks")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _call(self, method: str, params: Frame) -> Frame:
        try:
            return self.channel.call(method, params)
        except (EOFError, OSError) as error:
            raise HudError(f"{method}: the environment closed the connection: it may have stopped") from error

    def _grade_parked(self, answer: str, wanted: Frame) -> Frame | None:
        """Grade what is parked, or give None. To name it is ours: others take the single parked task."""
        try:
            return self._call("tasks.grade", {"answer": answer, **wanted})
        except HudProtocolError as error:
            if error.code == INVALID_REQUEST and error.message == NOTHING_TO_GRADE:
                return None
            if error.code == INVALID_REQUEST and "parked sessions" in error.message:
                error.hint = "`hud task run` grades a run of its own; --args tells runs with other arguments apart"
            raise

    def _first_reading(self, reference: str, args: Frame | None) -> Frame:
        """Give what names the task on the wire: `id`, `args` when they are known, and `slug` when it is a row."""
        if self.row is not None:
            return _of_row(self.row, args)
        return {"id": reference} if args is None else {"id": reference, "args": args}

    def _second_reading(self, reference: str, args: Frame | None, error: HudProtocolError) -> Frame:
        """Look for TASK among the rows at hand, after the environment refused it as a template id.

        Raises:
            NotFoundError: neither knows it.
            UsageError: several rows would do.
            HudProtocolError: it was refused for another reason.
        """
        unknown = error.code == INVALID_PARAMS and error.message.startswith("unknown task")
        incomplete = args is None and error.message.startswith(f"task '{reference}': bad args")
        rows = self._rows_at_hand() if unknown or incomplete else []
        if unknown:
            row = _row_named(rows, reference)
            if row is None:
                raise self._unknown(reference, rows) from None
        elif incomplete:
            row = _row_with_arguments(rows, reference)
            if row is None:
                raise HudProtocolError(
                    error.code, error.message, hint="""give them with --args '{"name": …}'"""
                ) from None
        else:
            raise error
        return _of_row(row, args)

    def _rows_at_hand(self) -> list[Task]:
        """Read the rows of the source, or none: it need not be there to attach, nor load."""
        if self.source is None:
            return []
        from hud.environment.source import collect_tasks

        try:
            return collect_tasks(self.source)
        except HudError as error:
            output.note(f"The tasks of {os.path.abspath(self.source)} are not known here: {error}")
            return []

    def _unknown(self, reference: str, rows: list[Task]) -> NotFoundError:
        known = [str(row.get("id")) for row in self.task_rows()] + [row.slug for row in rows]
        return _unknown(reference, list(dict.fromkeys(known)))


def _of_row(row: Task, args: Frame | None) -> Frame:
    return {"id": row.id, "args": row.args if args is None else args, "slug": row.slug}


def place(reference: str, *, source: str | None, url: str | None, timeout_s: float | None, token: str | None) -> Place:
    """Open the place that the options name for the task `reference`; see the top of this module.

    Raises:
        NotFoundError: the source has no such row.
        DeadlineError: nothing answered in time.
    """
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    if url is not None:
        row = None if source is None else _row_of(source, reference)
        return Place(connect(url, timeout_s=timeout_s or URL_TIMEOUT_S, token=token), row=row)
    if source is not None:
        return _spawned(source, reference, timeout_s)
    if (port := image_port()) is not None:  # its hooks may take a while
        channel = connect(f"127.0.0.1:{port}", timeout_s=timeout_s or STARTING_TIMEOUT_S, token=token)
        return Place(channel, source=_HERE)
    if (port := default_port()) and accepts(port):
        address = f"tcp://127.0.0.1:{port}"
        channel = connect(address, timeout_s=timeout_s or IMPLICIT_TIMEOUT_S, token=token, implicit=True)
        output.note(f"Attached to {_env_name(channel)} at {address}; --source . starts the one at hand.")
        return Place(channel, source=_HERE)
    return _spawned(_HERE, reference, timeout_s)


def connect(url: str, *, timeout_s: float, token: str | None, implicit: bool = False) -> Connection:
    """Open a channel, saying after a second what is waited for.

    Args:
        implicit: Nobody asked for this address: an error says how to avoid it.

    Raises:
        DeadlineError: nothing answered in time.
    """
    host, port = parse_url(url)
    address = f"tcp://{host}:{port}"
    begun = time.monotonic()
    try:
        return Connection.open(address, timeout_s=min(timeout_s, _NOTICE_S), token=token)
    except DeadlineError:
        if timeout_s <= _NOTICE_S:
            raise
    output.note(f"Waiting for an environment at {address}, up to {timeout_s:g} s…")
    remaining_s = max(timeout_s - (time.monotonic() - begun), 0.01)
    try:
        return Connection.open(address, timeout_s=remaining_s, token=token)
    except DeadlineError as error:
        reason = error.message.rpartition(": ")[2]
        raise DeadlineError(
            f"no environment answers at {address} within {timeout_s:g} s: {reason}",
            hint="it is no HUD environment? --source . does not attach to it" if implicit else error.hint,
        ) from error


def _row_of(source: str, reference: str) -> Task:
    """Give the row that TASK names, or one made of the template that it names.

    Raises:
        NotFoundError: there is neither.
        UsageError: several rows have that template id.
    """
    from hud.environment.source import collect_tasks, select_task
    from hud.eval.task import Task

    rows = collect_tasks(source)
    if not rows:
        raise NotFoundError(
            f"no tasks in {os.path.abspath(source)}",
            hint="run it where your env.py is, or name the source: --source PATH",
        )
    templates = {
        template: Task(row.environment.name, template, environment=row.environment)
        for row in rows
        if row.environment is not None
        for template in row.environment.templates
    }
    try:
        return select_task(rows, reference)
    except NotFoundError:
        if reference in templates:
            return templates[reference]
        known = dict.fromkeys([*(row.slug for row in rows), *(row.id for row in rows), *templates])
        raise _unknown(reference, list(known)) from None


def _spawned(source: str, reference: str, timeout_s: float | None) -> Place:
    from hud_cli.spawn import Child

    row = _row_of(source, reference)  # before anything is started: an unknown task needs no child
    limit_s = timeout_s or STARTING_TIMEOUT_S
    child = Child(source, env=None if row.environment is None else row.environment.name, timeout_s=limit_s)
    try:
        channel = connect(child.url, timeout_s=limit_s, token=child.token)
    except BaseException:
        child.stop()
        raise
    return Place(channel, row=row, child=child)


def _unknown(reference: str, known: list[str]) -> NotFoundError:
    hint = did_you_mean(reference, known) or (f"there are: {', '.join(known[:20])}" if known else "there are no tasks")
    return NotFoundError(f"unknown task: {reference!r}", hint=hint)


def _row_named(rows: list[Task], reference: str) -> Task | None:
    from hud.environment.source import select_task

    try:
        return select_task(rows, reference)
    except NotFoundError:
        return None


def _row_with_arguments(rows: list[Task], task_id: str) -> Task | None:
    """Give the one row of a template that needs arguments; None when there is none."""
    matches = [row for row in rows if row.id == task_id and row.args]
    if len(matches) > 1:
        slugs = ", ".join(row.slug for row in matches[:10])
        raise UsageError(f"{task_id!r} needs arguments, and {len(matches)} tasks have some", hint=f"name one: {slugs}")
    return matches[0] if matches else None


def _env_name(channel: Connection) -> str:
    env = channel.hello.get("env")
    return str(env.get("name")) if isinstance(env, dict) else "an environment"
