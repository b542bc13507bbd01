"""Remove what nothing needs any more, beside a server that goes on: contexts, blobs, archives, work trees, logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, select

from hud import files
from hud.context import manifest as manifests
from hud.platform.records import ENDED_STATUSES
from hud_platform.contexts.blobs import PREFIXES, BlobStore, Kind
from hud_platform.storage import leftovers
from hud_platform.storage.leftovers import Share
from hud_platform.storage.tables import builds, contexts, versions
from hud_platform.web.times import now

if TYPE_CHECKING:
    from hud_platform.backend import Backend

__all__ = ["Ages", "Collected", "collect"]


@dataclass(frozen=True, kw_only=True)
class Ages:
    """How long things are kept.

    Attributes:
        context: After a context was last used, unless a version or a running build is made from it.
        upload: After an archive was expected for which no build began.
        stray: After something was stored that belongs to nothing; an upload under way may need it yet.
        log: After a build ended.
    """

    context: timedelta = timedelta(days=30)
    upload: timedelta = timedelta(days=1)
    stray: timedelta = timedelta(days=1)
    log: timedelta = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was removed, or would be; `blobs` are chunks and manifests."""

    contexts: int
    blobs: Share
    uploads: Share
    worktrees: Share
    logs: Share

    @property
    def size_bytes(self) -> int:
        """The bytes of all together."""
        return sum(share.size_bytes for share in (self.blobs, self.uploads, self.worktrees, self.logs))


async def collect(backend: Backend, *, dry_run: bool, ages: Ages = Ages()) -> Collected:
    """Remove what nothing needs any more, or only count it; a server may run meanwhile, in another process too.

    Raises:
        HudError: the store of blobs does not answer.
        OSError: something may not be removed.
    """
    async with _alone(files.locked(backend.data.root)):  # a backup's copy of the database and of the blobs fit
        dropped = await _contexts(backend, now() - ages.context, dry_run=dry_run)
        return Collected(
            contexts=len(dropped),
            blobs=await _blobs(backend, dropped, now() - ages.stray, dry_run=dry_run),
            uploads=await leftovers.uploads(backend, now() - ages.upload, dry_run=dry_run),
            worktrees=await leftovers.worktrees(backend, dry_run=dry_run),
            logs=await leftovers.logs(backend, now() - ages.log, dry_run=dry_run),
        )


async def _contexts(backend: Backend, before: datetime, *, dry_run: bool) -> set[str]:
    """Forget contexts, and give their digests."""
    of_versions: ColumnElement[Any] = versions.c.context_digest
    of_builds: ColumnElement[Any] = builds.c.context_digest
    running = builds.c.status.not_in(ENDED_STATUSES)
    unused = (
        (contexts.c.used_at < before)
        & contexts.c.digest.not_in(select(of_versions).where(of_versions.is_not(None)))
        & contexts.c.digest.not_in(select(of_builds).where(of_builds.is_not(None), running))
    )
    async with backend.database.begin() as connection:
        if dry_run:
            return set((await connection.scalars(select(contexts.c.digest).where(unused))).all())
        return set((await connection.scalars(delete(contexts).where(unused).returning(contexts.c.digest))).all())


async def _blobs(backend: Backend, dropped: set[str], before: datetime, *, dry_run: bool) -> Share:
    """Remove chunks and manifests of no context, a part of the store at a time so that uploads wait for little."""
    sweep = _Sweep(backend.blobs, before.timestamp(), dry_run=dry_run)
    removed = Share()
    await asyncio.to_thread(sweep.mark, await _known(backend, dropped))  # before anybody has to wait for it
    for prefix in PREFIXES:
        async with _alone(backend.blobs.sweep()):
            known = await _known(backend, dropped)
            removed += await asyncio.to_thread(sweep.run, prefix, known)
    return removed


async def _known(backend: Backend, dropped: set[str]) -> set[str]:
    async with backend.database.connect() as connection:
        return set((await connection.scalars(select(contexts.c.digest))).all()) - dropped


class _Sweep:
    """One walk through a store: what is needed, as far as is known."""

    def __init__(self, store: BlobStore, before_s: float, *, dry_run: bool) -> None:
        self._store = store
        self._before_s = before_s
        self._dry_run = dry_run
        self._manifests: set[str] = set()
        self._chunks: set[bytes] = set()  # half the size of their text

    def mark(self, known: set[str]) -> None:
        """Keep contexts and all their chunks."""
        for digest in known - self._manifests:
            content = self._store.manifest(digest)
            if content is not None:
                self._chunks.update(map(bytes.fromhex, manifests.decode(content).chunk_sizes))
                self._manifests.add(digest)

    def run(self, prefix: str, known: set[str]) -> Share:
        """Remove what is old and not kept."""
        self.mark(known)
        return self._remove("chunks", prefix) + self._remove("manifests", prefix)

    def _remove(self, kind: Kind, prefix: str) -> Share:
        removed = [
            stored
            for stored in self._store.listed(kind, prefix)
            if stored.stored_at_s < self._before_s and not self._is_kept(kind, stored.name)
        ]
        if not self._dry_run:
            self._store.remove(kind, prefix, [stored.name for stored in removed])
        return Share(count=len(removed), size_bytes=sum(stored.size_bytes for stored in removed))

    def _is_kept(self, kind: Kind, name: str) -> bool:
        if kind == "manifests":
            return name in self._manifests
        try:
            return bytes.fromhex(name) in self._chunks
        except ValueError:  # what a killed server left of a write
            return False


@asynccontextmanager
async def _alone(lock: AbstractContextManager[None]) -> AsyncIterator[None]:
    """Hold a lock for which one has to wait in a thread."""
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, lock)
        yield
