"""Collecting removes what nothing needs, and nothing that an upload under way relies on."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hud import files
from hud.context import pack
from hud.context.pack import Blob
from hud.errors import NotFoundError
from hud_platform import projects
from hud_platform.backend import Backend, open_backend
from hud_platform.config import PlatformConfig
from hud_platform.contexts import contexts
from hud_platform.contexts.blobs import PREFIXES
from hud_platform.storage import gc, tables
from hud_platform.storage.gc import Ages
from hud_platform.storage.leftovers import Share
from hud_platform.web.times import now
from tests import bench
from tests.hud_platform.test_contexts import context, fresh, missing, register, send
from tests.platform_process import PlatformProcess

NOTHING = gc.Collected(contexts=0, blobs=Share(), uploads=Share(), worktrees=Share(), logs=Share())


@pytest.fixture(params=["files", "bucket"])
async def backend(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Backend]:
    """An open platform, once with files and once with a bucket."""
    url = None
    if request.param == "bucket":
        bucket = bench.require_bucket()
        url = bucket.url
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
    async with open_backend(PlatformConfig(data=tmp_path / "data", blobs_url=url)) as opened:
        yield opened


async def keep(backend: Backend, chunks: list[tuple[str, bytes]], *, age: timedelta = timedelta(0)) -> str:
    """Take a context in that was last used some time ago, and give its digest."""
    state = await contexts.register(backend, context(*chunks).encode())
    backend.blobs.put([Blob(*chunk) for chunk in chunks])
    async with backend.database.begin() as connection:
        used = update(tables.contexts).where(tables.contexts.c.digest == state.digest)
        await connection.execute(used.values(used_at=now() - age))
    return state.digest


async def build(backend: Backend, *, status: str = "SUCCEEDED", **fields: Any) -> uuid.UUID:
    """Note a build that ended long ago, or runs, and give its id."""
    build_id, environment_id = uuid.uuid4(), uuid.uuid4()
    old = now() - timedelta(days=1000)
    async with backend.database.begin() as connection:
        project = await projects.resolve(connection, None)
        environment = {"id": environment_id, "project_id": project.id, "name": f"e-{build_id}", "declared_name": "e"}
        await connection.execute(insert(tables.environments).values(**environment, created_at=old))
        ended_at = None if status == "IN_PROGRESS" else old
        values = {"no_cache": False, "build_args": {}, "queued": False, "cancel_requested": False, **fields}
        row = {"id": build_id, "environment_id": environment_id, "status": status, "ended_at": ended_at}
        await connection.execute(insert(tables.builds).values(**row, **values, created_at=old))
        if status == "SUCCEEDED":
            version = {"environment_id": environment_id, "number": 1, "image": "i", "digest": "d", "size_bytes": 1}
            version |= {"manifest": {}, "context_digest": fields.get("context_digest"), "created_at": old}
            await connection.execute(insert(tables.versions).values(**version))
    return build_id


def stored(backend: Backend) -> set[str]:
    return {blob.name for prefix in PREFIXES for blob in backend.blobs.listed("chunks", prefix)}


async def test_chunks_of_contexts_that_nobody_uses_go_and_shared_ones_stay(backend: Backend) -> None:
    only_old, shared, only_new = fresh(3)
    old = await keep(backend, [only_old, shared], age=timedelta(days=31))
    new = await keep(backend, [shared, only_new], age=timedelta(days=29))
    collected = await gc.collect(backend, dry_run=False, ages=Ages(stray=timedelta(0)))

    assert collected.contexts == 1
    assert collected.blobs.count == 2  # a chunk and a manifest
    assert stored(backend) == {shared[0], only_new[0]}
    assert await contexts.missing(backend, new) == []
    with pytest.raises(NotFoundError, match=f"no context has the digest '{old}'"):
        await contexts.missing(backend, old)
    assert await gc.collect(backend, dry_run=False, ages=Ages(stray=timedelta(0))) == NOTHING


async def test_a_dry_run_counts_the_same_and_removes_nothing(backend: Backend) -> None:
    await keep(backend, fresh(3), age=timedelta(days=31))
    ages = Ages(stray=timedelta(0))
    counted = await gc.collect(backend, dry_run=True, ages=ages)

    assert len(stored(backend)) == 3
    assert counted.size_bytes == counted.blobs.size_bytes > 120
    assert await gc.collect(backend, dry_run=False, ages=ages) == counted
    assert stored(backend) == set()


async def test_contexts_of_versions_and_of_running_builds_stay(backend: Backend) -> None:
    years = timedelta(days=1000)
    digests = [await keep(backend, fresh(1), age=years) for _ in range(4)]
    for digest, status in zip(digests, ("SUCCEEDED", "IN_PROGRESS", "FAILED"), strict=False):
        await build(backend, status=status, context_digest=digest)
    collected = await gc.collect(backend, dry_run=False, ages=Ages(stray=timedelta(0)))

    assert collected.contexts == 2
    assert len(stored(backend)) == 2
    assert [await contexts.missing(backend, digest) for digest in digests[:2]] == [[], []]


async def test_chunks_that_came_a_moment_ago_stay_though_no_context_has_them(backend: Backend) -> None:
    chunk = fresh(1)[0]
    backend.blobs.put([Blob(*chunk)])

    assert await gc.collect(backend, dry_run=False) == NOTHING
    assert stored(backend) == {chunk[0]}


async def test_what_a_killed_server_left_of_a_write_goes(tmp_path: Path) -> None:
    async with open_backend(PlatformConfig(data=tmp_path)) as backend:
        chunk = fresh(1)[0]
        await keep(backend, [chunk])
        half = backend.data.blobs / "chunks" / chunk[0][:2] / f"{chunk[0]}#1"
        half.write_bytes(b"half")
        collected = await gc.collect(backend, dry_run=False, ages=Ages(stray=timedelta(0)))

        assert collected.blobs == Share(count=1, size_bytes=4)
        assert not half.exists()
        assert stored(backend) == {chunk[0]}


async def test_archives_go_when_their_build_ended_or_none_began(tmp_path: Path) -> None:
    async with open_backend(PlatformConfig(data=tmp_path)) as backend:
        ended, running = await build(backend), await build(backend, status="IN_PROGRESS")
        late, fresh_one = uuid.uuid4(), uuid.uuid4()
        async with backend.database.begin() as connection:
            for build_id, age in ((ended, 9), (running, 9), (late, 9), (fresh_one, 0)):
                row = {"build_id": build_id, "created_at": now() - timedelta(days=age), "completed_at": now()}
                await connection.execute(insert(tables.uploads).values(**row))
        for build_id in (ended, running, late, fresh_one):
            aged(backend.data.uploads / f"{build_id}.tar.gz", b"1234567890")
        aged(backend.data.uploads / f"{late}.tar.gz.x.tmp", b"half")
        (backend.data.uploads / f"{fresh_one}.tar.gz.x.tmp").write_bytes(b"under way")
        collected = await gc.collect(backend, dry_run=False)

        assert collected.uploads == Share(count=3, size_bytes=24)
        left = {path.name for path in backend.data.uploads.iterdir()}
        assert left == {f"{running}.tar.gz", f"{fresh_one}.tar.gz", f"{fresh_one}.tar.gz.x.tmp"}
        async with backend.database.connect() as connection:
            expected = set((await connection.scalars(select(tables.uploads.c.build_id))).all())
        assert expected == {ended, running, fresh_one}


def aged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (1, 1))


async def test_folders_of_no_environment_and_logs_of_long_ago_go(tmp_path: Path) -> None:
    async with open_backend(PlatformConfig(data=tmp_path)) as backend:
        ended, running = await build(backend), await build(backend, status="IN_PROGRESS")
        async with backend.database.connect() as connection:
            known = (await connection.scalars(select(tables.environments.c.id))).first()
        for folder in (backend.data.contexts / str(known), backend.data.contexts / str(uuid.uuid4())):
            (folder / "tree" / "d").mkdir(parents=True)
            (folder / "tree" / "d" / "f").write_bytes(b"12345")
            (folder / "tree" / "out").symlink_to(tmp_path)
        for build_id in (ended, running):
            (backend.data.builds / str(build_id)).mkdir()
            (backend.data.builds / str(build_id) / "log.jsonl").write_bytes(b"{}\n")
        collected = await gc.collect(backend, dry_run=False)

        assert collected.worktrees.count == 1
        assert collected.logs == Share(count=1, size_bytes=3)
        assert [path.name for path in backend.data.contexts.iterdir()] == [str(known)]
        assert [path.name for path in backend.data.builds.iterdir()] == [str(running)]
        assert backend.data.database.exists()  # nothing was followed


async def test_it_waits_for_a_backup(tmp_path: Path) -> None:
    async with open_backend(PlatformConfig(data=tmp_path)) as backend:
        with files.locked(backend.data.root):
            collecting = asyncio.create_task(gc.collect(backend, dry_run=False))
            await asyncio.wait([collecting], timeout=0.3)
            assert not collecting.done()
        assert await collecting == NOTHING


@pytest.mark.slow
def test_deploys_go_on_while_everything_unused_is_removed_again_and_again(
    fresh_platform: Callable[..., PlatformProcess],
) -> None:
    """What a client was told is there, is there when its context is asked for again."""
    platform = fresh_platform()
    ages = Ages(stray=-timedelta(days=1))  # not even what comes in a moment is spared
    is_over = threading.Event()
    swept: list[int] = []

    async def sweep() -> None:
        # In another process's place: as `hud platform gc` beside a server.
        async with open_backend(PlatformConfig(data=platform.data)) as backend:
            while not is_over.is_set():
                collected = await gc.collect(backend, dry_run=False, ages=ages)
                swept.append(collected.blobs.count)

    sweeping = threading.Thread(target=lambda: asyncio.run(sweep()))
    sweeping.start()
    try:
        while len(swept) < 4:
            common = fresh(20)
            send(platform, b"".join(pack.write(common)))  # of no context yet, so they may go at any moment
            wanted = context(*common, *fresh(5))
            lacking = set(register(platform, wanted.encode()).json()["missing"])
            assert set(missing(platform, wanted.digest)) == lacking
            send(platform, b"".join(pack.write(chunk for chunk in common if chunk[0] in lacking)))
            assert set(missing(platform, wanted.digest)).isdisjoint(digest for digest, _ in common)
    finally:
        is_over.set()
        sweeping.join()
    assert sum(swept) > 0
