"""Send a context: only the chunks that the platform lacks, or, where it knows no chunks, one archive.

Memory holds some chunks, whatever the size of the context.
"""

from __future__ import annotations

import errno
import tempfile
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, BinaryIO

from hud.context import chunk_source, pack, write_archive
from hud.context.hashing import Progress
from hud.context.manifest import CONTENT_TYPE as MANIFEST_TYPE
from hud.context.manifest import Manifest
from hud.context.tree import Context
from hud.errors import HudError, NotFoundError, UnreachableError
from hud.platform import builds
from hud.platform.client import Platform
from hud.platform.records import BuildTicket, ContextState

__all__ = ["send_archive", "send_chunks"]

_PACK_BYTES = 8 * 2**20
_AT_ONCE = 2
_TRIES = 4
_PIECE_BYTES = 1 << 20
_ARCHIVE_TYPE = "application/gzip"


def send_chunks(platform: Platform, context: Context, manifest: Manifest, progress: Progress | None = None) -> int:
    """Make sure that the platform has every chunk of a context, and give how many bytes had to be sent.

    A connection that breaks costs what was under way: what arrived is asked for, and the rest sent.

    Raises:
        HudError: a file changed since its manifest was made.
        UnreachableError: the connection broke again and again.
    """
    state, sent = _known(platform, manifest)
    read = chunk_source(context, manifest)
    tries = 0
    while state.missing:
        lacking = len(state.missing)
        total = sum(manifest.chunk_sizes[digest] for digest in state.missing)
        counter = _Counter(total, progress)
        failure: UnreachableError | None = None
        try:
            _send_packs(platform, _packs(manifest, state.missing), read, counter)
        except UnreachableError as error:
            failure = error
        sent += counter.done
        state = platform.call("GET", f"/contexts/{manifest.digest}", into=ContextState)
        tries = 0 if len(state.missing) < lacking else tries + 1
        if tries == _TRIES:
            raise failure or HudError(f"{platform.origin} does not keep what is sent: {lacking} chunks are missing")
    return sent


def send_archive(
    platform: Platform, context: Context, *, packing: Progress | None = None, sending: Progress | None = None
) -> tuple[BuildTicket, int]:
    """Pack a context and put it where the platform says; give the build it is for, and the archive's size.

    Raises:
        HudError: a file changed while it was packed, or there is no room for the archive.
        UnreachableError: the storage does not answer, or the connection broke each time.
    """
    with tempfile.TemporaryFile(prefix="hud-context-") as file:
        size_bytes = _pack(context, file, packing)
        ticket = builds.open_upload(platform)

        def pieces() -> Iterator[bytes]:
            file.seek(0)
            counter = _Counter(size_bytes, sending)
            while piece := file.read(_PIECE_BYTES):
                yield piece
                counter.add(len(piece))

        platform.put_file(ticket.upload_url, pieces, size_bytes=size_bytes, content_type=_ARCHIVE_TYPE)
    return ticket, size_bytes


def _pack(context: Context, file: BinaryIO, progress: Progress | None) -> int:
    try:
        write_archive(context, file, progress)
        return file.tell()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        folder = tempfile.gettempdir()
        message = f"there is no room in {folder} for the archive of {context.root}: {error.strerror}"
        raise HudError(message, hint="export TMPDIR=… names a folder with more room") from error


def _known(platform: Platform, manifest: Manifest) -> tuple[ContextState, int]:
    """Ask by the digest alone first: a context that did not change costs nothing but that."""
    try:
        return platform.call("GET", f"/contexts/{manifest.digest}", into=ContextState), 0
    except NotFoundError:
        content = manifest.encode()
        headers = {"Content-Type": MANIFEST_TYPE}
        state = platform.call("POST", "/contexts", into=ContextState, content=content, headers=headers, idempotent=True)
        return state, len(content)


def _packs(manifest: Manifest, digests: list[str]) -> Iterator[list[str]]:
    """Group chunks so that a request holds some megabytes."""
    group: list[str] = []
    size = 0
    for digest in digests:
        if group and size + manifest.chunk_sizes[digest] > _PACK_BYTES:
            yield group
            group, size = [], 0
        group.append(digest)
        size += manifest.chunk_sizes[digest]
    if group:
        yield group


def _send_packs(
    platform: Platform, packs: Iterator[list[str]], read: Callable[[str], bytes], counter: _Counter
) -> None:
    """Send packs from some threads, which an interrupted command does not wait for.

    Raises:
        HudError: what came first.
    """
    stopped, turn = threading.Event(), threading.Lock()
    ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            while (digests := take()) is not None:
                send(digests)
            ends.put(None)
        except BaseException as error:  # noqa: BLE001  # it is raised where the threads are waited for
            stopped.set()
            ends.put(error)

    def take() -> list[str] | None:
        with turn:
            return None if stopped.is_set() else next(packs, None)

    def send(digests: list[str]) -> None:
        def body() -> Iterator[bytes]:
            for digest in digests:
                content = read(digest)
                yield pack.header(digest, len(content))
                # In pieces: what a socket does not take at once is copied for the rest.
                for offset in range(0, len(content), _PIECE_BYTES):
                    if stopped.is_set():
                        raise HudError("the upload was stopped")
                    piece = content[offset : offset + _PIECE_BYTES]
                    yield piece
                    counter.add(len(piece))

        headers = {"Content-Type": pack.CONTENT_TYPE}
        platform.call("POST", "/blobs", into=dict[str, Any], content=body, headers=headers, idempotent=True)

    for number in range(_AT_ONCE):
        threading.Thread(target=work, name=f"hud-send-{number}", daemon=True).start()
    try:
        failures = [error for _ in range(_AT_ONCE) if (error := ends.get()) is not None]
    finally:
        stopped.set()
    if failures:
        raise failures[0]


class _Counter:
    """Adds up what several threads have sent."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done = 0
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.done += count
            if self._progress is not None:
                self._progress(min(self.done, self._total), self._total)
