"""Rows of an upload on their way in: read and checked in portions, off the event loop, and kept until stored."""

from __future__ import annotations

import asyncio
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hud.errors import UsageError
from hud_platform.tasksets.task_checks import Checks, Problems
from hud_platform.tasksets.task_rows import Buffer, Malformed, TaskRow, environments_of, named, read_row
from hud_platform.web.refusals import TooLarge

if TYPE_CHECKING:
    from hud_platform.storage.database import Database

__all__ = ["Intake", "intake"]

_AT_ONCE = 500  # a few milliseconds, which is what other requests may have to wait for this one
_BYTES_AT_ONCE = 2 * 2**20
_IN_MEMORY_BYTES = 4 * 2**20
_MOST_ROWS = 1_000_000


@contextmanager
def intake(database: Database, checks: Checks, folder: Path) -> Iterator[Intake]:
    """Open an intake; what it keeps is in memory as long as that is little, else in a file of a folder."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(folder)) as kept:
        yield Intake(database, checks, kept)


class Intake:
    """What an upload brought so far.

    Attributes:
        digests: Of the rows that are good, by slug, in their order.
    """

    def __init__(self, database: Database, checks: Checks, kept: IO[bytes]) -> None:
        self.digests: dict[str, bytes] = {}
        self._database = database
        self._checks = checks
        self._problems = Problems()
        self._kept = kept
        self._places: dict[str, int] = {}
        self._offsets = array("Q", [0])

    async def take(self, rows: Sequence[Buffer], place: Callable[[int], str]) -> None:
        """Read and check rows.

        Args:
            rows: The JSON of each, in the form of an upload.
            place: Gives the words for the place of a row whose slug nobody can tell.

        Raises:
            TooLarge: there are more of them than a taskset holds.
        """
        if len(self.digests) + len(rows) > _MOST_ROWS:
            raise TooLarge(f"an upload has more than {_MOST_ROWS} rows", hint="split it over several tasksets")
        for first, portion in _portions(rows):
            read = await asyncio.to_thread(self._read, portion, first, place)
            unknown = self._checks.unknown(environments_of(read))
            if unknown:
                async with self._database.connect() as connection:
                    await self._checks.look_up(connection, unknown)
            await asyncio.to_thread(self._keep, read)

    def refuse_problems(self) -> None:
        """Refuse an upload in which anything is wrong.

        Raises:
            UsageError: something is; the message has a line for each problem, of which the first are told (PA-20).
        """
        if self._problems.count:
            raise UsageError(self._problems.detail(), hint="mend these rows, or deploy what they need: hud deploy")

    def records(self, slugs: Iterable[str]) -> Iterator[bytes]:
        """Give the export records of these slugs, in their order."""
        for slug in slugs:
            index = self._places[slug]
            self._kept.seek(self._offsets[index])
            yield self._kept.read(self._offsets[index + 1] - self._offsets[index])

    def _read(self, portion: Sequence[Buffer], first: int, place: Callable[[int], str]) -> list[TaskRow]:
        read: list[TaskRow] = []
        for index, raw in enumerate(portion, first):
            text = bytes(raw)
            try:
                read.append(read_row(text))
            except Malformed as error:
                self._problems.add(f"{named(text, place(index))} {error}")
        return read

    def _keep(self, read: Sequence[TaskRow]) -> None:
        for row in read:
            for problem in self._checks.problems(row):
                self._problems.add(problem)
            if row.slug in self._places:
                self._problems.add(f"task {row.slug!r} is in the upload more than once")
                continue
            self._places[row.slug] = len(self._places)
            self.digests[row.slug] = row.digest
            self._kept.write(row.record)
            self._offsets.append(self._offsets[-1] + len(row.record))


def _portions(rows: Sequence[Buffer]) -> Iterator[tuple[int, Sequence[Buffer]]]:
    """Split rows into portions of bounded number and size, each with the index of its first row."""
    first = size_bytes = 0
    for index, row in enumerate(rows):
        row_bytes = memoryview(row).nbytes
        if index > first and (index - first == _AT_ONCE or size_bytes + row_bytes > _BYTES_AT_ONCE):
            yield first, rows[first:index]
            first, size_bytes = index, 0
        size_bytes += row_bytes
    if first < len(rows):
        yield first, rows[first:]
