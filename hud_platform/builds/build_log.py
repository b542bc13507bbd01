"""The log of a build: a file whose lines are the frames of its WebSocket, written once and sent to every watcher as is.

The writer is in this process. Watchers share what it wrote last, as text that is ready to be sent, and read anything
older from the file: so a slow watcher holds nobody up, and costs no memory but its place.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec

from hud.errors import HudError

__all__ = ["BATCH_S", "BuildLog", "LogWriter", "Logs"]

BATCH_S = 0.02
"""Lines of one step that are read within this time travel in one frame."""

_FRAME_CHARACTERS = 64 * 1024
_RECENT_BYTES = 4 * 2**20
_CHUNK_BYTES = 256 * 1024
_LONGEST_TAIL_BYTES = 1 << 20
_TAIL_SHARE = 8  # of the limit, at most one part in so many is kept for the end of a log that is too long

_encode = msgspec.json.Encoder().encode


class Logs:
    """The build logs of a data folder; one object a build, as long as somebody writes or watches it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: weakref.WeakValueDictionary[UUID, BuildLog] = weakref.WeakValueDictionary()

    def of(self, build_id: UUID) -> BuildLog:
        """Give the log of a build, whether anything was written to it yet or not."""
        log = self._known.get(build_id)
        if log is None:
            log = self._known[build_id] = BuildLog(self._folder / str(build_id) / "log.jsonl")
        return log


class BuildLog:
    """What this process knows of one log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._recent: deque[_Frame] = deque()
        self._recent_bytes = 0
        self._next_seq = 0  # of the frame that will be written; counts once there is a writer
        self._size_bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    def end(self) -> None:
        """Let watchers know that nothing more will be written."""
        self._ended = True
        self._tell()

    async def watch(self, cursor: int = 0) -> AsyncIterator[str]:
        """Give the frames from number `cursor` on, those to come included, until `end`.

        A cursor beyond what is there waits at the end.
        """
        place = _Place(0, 0) if cursor <= 0 else await asyncio.to_thread(_place_of, self.path, cursor)
        seq, offset = place.seq, place.offset
        unfinished = b""
        while True:
            changed = self._changed
            # Of what was dropped meanwhile from the recent frames, because this watcher is slow, the file has all.
            while 0 < (behind := self._next_seq - seq) <= len(self._recent):
                frame = self._recent[-behind]
                yield frame.text
                seq, offset, unfinished = seq + 1, offset + frame.size_bytes, b""
            if chunk := _read(self.path, offset + len(unfinished)):
                *lines, unfinished = (unfinished + chunk).split(b"\n")
                for line in lines:
                    yield line.decode()
                    seq, offset = seq + 1, offset + len(line) + 1
            elif self._ended:
                return
            else:
                unfinished = b""  # of a writer that was killed; the next one cuts it off
                await changed.wait()

    def _append(self, kind: str, **fields: object) -> None:
        """Write one frame.

        Raises:
            HudError: The disk is full, or the file cannot be written; nothing of the frame is left in it.
        """
        frame = {"type": kind, "seq": self._next_seq, **fields}
        try:
            line = _encode(frame) + b"\n"
        except UnicodeEncodeError:  # half of a surrogate pair, from a file's name
            line = _encode({name: _without_surrogates(value) for name, value in frame.items()}) + b"\n"
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError as error:
            os.ftruncate(self._descriptor, self._size_bytes)
            raise HudError(
                f"the build's log cannot be written: {error.strerror}",
                hint="free some space on the platform's disk: hud platform gc",
            ) from error
        self._size_bytes += len(line)
        self._next_seq += 1
        self._recent.append(_Frame(line[:-1].decode(), len(line)))
        self._recent_bytes += len(line)
        while self._recent_bytes > _RECENT_BYTES and len(self._recent) > 1:
            self._recent_bytes -= self._recent.popleft().size_bytes
        self._tell()

    def _open(self) -> None:
        """Begin to write where the last writer ended; a last line that it did not complete is cut off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        place = _place_of(self.path, None)
        os.ftruncate(self._descriptor, place.offset)
        self._next_seq, self._size_bytes = place.seq, place.offset
        self._recent.clear()
        self._recent_bytes = 0

    def _close(self) -> None:
        os.close(self._descriptor)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class LogWriter:
    """The one writer of a log; a context manager. Where a log goes on after a crash, so do its numbers.

    Once the log has `limit_bytes`, its middle is left out: beginnings and ends of steps still go in, and, when the
    writer is closed, the last of the rest.

    Args:
        log: Which one.
        limit_bytes: How much of it is kept.
    """

    def __init__(self, log: BuildLog, *, limit_bytes: int) -> None:
        self._log = log
        tail_bytes = min(limit_bytes // _TAIL_SHARE, _LONGEST_TAIL_BYTES)
        self._limit_bytes = limit_bytes - tail_bytes
        self._tail = _Tail(tail_bytes)
        self._step: str | None = None
        self._lines: list[str] = []
        self._characters = 0
        self._ended = False
        self._begun_ms = 0
        self._timer: asyncio.TimerHandle | None = None
        self._failed: HudError | None = None

    def __enter__(self) -> LogWriter:
        self._log._open()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write_tail()
        except HudError:  # what is missing is the log's very end
            pass
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._log._close()

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return self._log._next_seq

    def line(self, text: str, *, step: str | None = None, kept: bool = False, ended: bool = False) -> None:
        """Write a line; it is in the file after `BATCH_S`.

        Args:
            text: One line, masked.
            step: The step that printed it.
            kept: Whether it goes in although the log is too long.
            ended: Whether it says how the step ended; it is the last of its frame then, and the frame says so.

        Raises:
            HudError: The disk is full; also for lines before this one.
        """
        if self._failed is not None:
            raise self._failed
        if not kept and self._log._size_bytes + self._characters >= self._limit_bytes:
            if not self._tail.left_out_bytes:
                self.flush()
                self._note(f"The log has reached {_size(self._limit_bytes)}: what follows is left out, but its end")
            self._tail.add(text, step)
            return
        if step != self._step or self._characters + len(text) > _FRAME_CHARACTERS:
            self.flush()
        if not self._lines:
            self._step, self._begun_ms = step, _now_ms()
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._flush_later)
        self._lines.append(text)
        self._characters += len(text) + 1
        if ended:
            self._ended = True
            self.flush()

    def status(self, message: str) -> None:
        """Write what the platform says for itself, such as `Building the image`."""
        self.flush()
        self._note(message)

    def flush(self) -> None:
        """Write what is waiting."""
        if not self._lines:
            return
        message = "\n".join(self._lines)
        self._lines.clear()
        self._characters = 0
        fields = {name: value for name, value in (("step", self._step), ("ended", self._ended)) if value}
        self._ended = False
        self._log._append("log", **fields, message=message, timestamp=self._begun_ms)

    def _flush_later(self) -> None:
        self._timer = None
        try:
            self.flush()
        except HudError as error:
            self._failed = error

    def _note(self, message: str) -> None:
        self._log._append("status", message=message, timestamp=_now_ms())

    def _write_tail(self) -> None:
        self.flush()
        if dropped := self._tail.dropped_bytes:
            self._note(f"{dropped} bytes of the log were left out here")
        for text, step in self._tail.take():
            self.line(text, step=step, kept=True)
        self.flush()


class _Tail:
    """The last lines of what did not fit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lines: deque[tuple[str, str | None]] = deque()
        self._held = 0
        self.left_out_bytes = 0

    @property
    def dropped_bytes(self) -> int:
        return self.left_out_bytes - self._held

    def add(self, text: str, step: str | None) -> None:
        self._lines.append((text, step))
        self._held += len(text) + 1
        self.left_out_bytes += len(text) + 1
        while self._held > self._limit:
            self._held -= len(self._lines.popleft()[0]) + 1

    def take(self) -> list[tuple[str, str | None]]:
        lines = list(self._lines)
        self._lines.clear()
        self._held = self.left_out_bytes = 0
        return lines


@dataclass(frozen=True, slots=True)
class _Frame:
    text: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where frame number `seq` begins, or will."""

    seq: int
    offset: int


def _place_of(path: Path, seq: int | None) -> _Place:
    """Find a frame in a file by counting lines; the end of the last whole one when there are fewer, or for None."""
    found = offset = scanned = 0
    while chunk := _read(path, scanned):
        lines = chunk.count(b"\n")
        if seq is not None and found + lines >= seq:
            at = 0
            for _ in range(seq - found):
                at = chunk.index(b"\n", at) + 1
            return _Place(seq, scanned + at if at else offset)
        if lines:
            found, offset = found + lines, scanned + chunk.rindex(b"\n") + 1
        scanned += len(chunk)
    return _Place(found, offset)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), _CHUNK_BYTES, offset)
    except FileNotFoundError:  # nothing was written yet
        return b""


def _without_surrogates(value: object) -> object:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count} bytes"
