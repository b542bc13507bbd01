"""`Shared`: several rollouts on one substrate.

Source: command-line and SDK specification, section 11.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from hud import LocalRuntime, Run, Runtime, RuntimeConfig, Shared, SubprocessRuntime, Task, Taskset
from hud.errors import RuntimeStartError, UnreachableError, UsageError
from tests.hud.eval.places import row, write_source


class Counted:
    """A provider of real children that counts them."""

    def __init__(self, folder: Path) -> None:
        self.local = LocalRuntime(write_source(folder))
        self.up: list[str] = []
        self.there = self.opened = 0

    @asynccontextmanager
    async def __call__(self, task: Task) -> AsyncIterator[Runtime]:
        async with self.local(Task(task.env, task.id)) as place:
            self.up.append(place.url)
            self.there += 1
            try:
                yield place
            finally:
                self.there -= 1

    async def __aenter__(self) -> None:
        self.opened += 1
        await self.local.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        self.opened -= 1
        await self.local.__aexit__(*error)


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "source")


async def linger(run: Run) -> None:
    await asyncio.sleep(0.05)


async def test_so_many_rollouts_share_one_substrate_and_no_more(counted: Counted) -> None:
    job = await row("where").run(linger, runtime=Shared(counted, width=3), group=7)
    assert job.errors == []
    assert len(counted.up) == 3
    assert sorted([run.runtime for run in job.runs].count(url) for url in counted.up) == [1, 3, 3]
    assert (counted.there, counted.opened) == (0, 0)


async def test_a_free_seat_is_taken_before_another_substrate_is_brought_up(counted: Counted) -> None:
    await row("where").run(linger, runtime=Shared(counted, width=2), group=6, max_concurrent=2)
    assert len(counted.up) == 1


async def test_environments_and_configs_have_substrates_of_their_own(counted: Counted) -> None:
    small = row("add")
    small.slug, small.runtime_config = "small", RuntimeConfig(image="small")
    tasks = Taskset("kinds", [row("add"), row("count"), row("add", env="other", a=0), small])
    await tasks.run(linger, runtime=Shared(counted, width=8), group=2)
    assert len(counted.up) == 3


async def test_substrates_are_kept_while_it_is_open(counted: Counted) -> None:
    async with Shared(counted, width=4) as shared:
        for _ in range(3):
            await row("where").run(linger, runtime=shared, group=2)
        assert (len(counted.up), counted.there) == (1, 1)
    assert (counted.there, counted.opened) == (0, 0)


async def test_jobs_that_overlap_on_one_share_what_is_there(counted: Counted) -> None:
    shared = Shared(counted, width=4)

    async def job(pause_s: float) -> list[Run]:
        await asyncio.sleep(pause_s)
        return (await row("where").run(linger, runtime=shared, group=2)).errors

    assert await asyncio.gather(*(job(n * 0.02) for n in range(12))) == [[]] * 12
    assert (counted.there, counted.opened) == (0, 0)


async def test_not_open_it_refuses(counted: Counted) -> None:
    with pytest.raises(UsageError, match="not open"):
        async with Shared(counted, width=1)(row("add")):
            pass


@pytest.mark.parametrize(("provider", "width"), [("env.py", 1), (SubprocessRuntime("env.py"), 0)])
def test_what_cannot_be_shared_is_refused(provider: Any, width: int) -> None:
    with pytest.raises(UsageError):
        Shared(cast(Any, provider), width=width)


async def test_all_that_wait_for_a_substrate_learn_why_it_did_not_come_up() -> None:
    tries = 0

    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.05)
        raise RuntimeStartError("no such image")
        yield

    job = await row("add").run(linger, runtime=Shared(provider, width=4), group=4)
    assert [run.trace.error for run in job.runs] == ["[provision] no such image"] * 4
    assert tries == 1


async def test_after_one_that_did_not_come_up_the_next_rollout_tries_again(counted: Counted) -> None:
    failures = [RuntimeStartError("busy"), RuntimeStartError("busy")]

    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        if failures:
            raise failures.pop()
        async with counted(task) as place:
            yield place

    job = await row("add").run(linger, runtime=Shared(provider, width=4), group=4, max_concurrent=1)
    assert [run.is_graded for run in job.runs] == [False, False, True, True]
    assert len(counted.up) == 1


async def test_one_that_is_lost_is_replaced(counted: Counted) -> None:
    async def agent(run: Run) -> None:
        if len(counted.up) == 1:
            os.kill(int(run.prompt.split()[1]), signal.SIGKILL)
        await linger(run)

    async with asyncio.timeout(30):
        job = await row("where").run(agent, runtime=Shared(counted, width=2), group=6, max_concurrent=2)
    assert len(counted.up) == 2
    assert [run.is_graded for run in job.runs] == [False, False, True, True, True, True]
    assert all(isinstance(run.error, UnreachableError) for run in job.errors)
    assert counted.there == 0


async def test_a_waiter_that_is_cancelled_does_not_disturb_the_others(counted: Counted) -> None:
    release = asyncio.Event()

    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        await release.wait()
        async with counted(task) as place:
            yield place

    async with Shared(provider, width=4) as shared:
        first, second = (asyncio.create_task(row("add").run(linger, runtime=shared)) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait({first})
        release.set()
        assert (await second).errors == []


async def test_given_up_before_it_came_up_it_is_taken_down(counted: Counted) -> None:
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(Shared(counted, width=4))
        job = asyncio.create_task(row("add").run(linger, runtime=shared))
        await asyncio.sleep(0.01)
        job.cancel()
        await asyncio.wait({job})
    assert (counted.there, counted.opened) == (0, 0)


async def test_a_substrate_that_does_not_end_well_is_logged(counted: Counted, caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        async with counted(task) as place:
            yield place
        raise OSError("the lease would not end")

    with caplog.at_level(logging.WARNING, logger="hud.eval"):
        job = await row("add").run(linger, runtime=Shared(provider, width=4), group=2)
    assert job.errors == []
    assert [record.getMessage() for record in caplog.records] == [
        "what was shared by several rollouts did not end well: OSError('the lease would not end')"
    ]


async def test_a_provider_that_cannot_be_opened_is_told_and_nothing_stays_open() -> None:
    class Closed:
        def __call__(self, task: Task) -> Any:
            raise AssertionError(task)

        async def __aenter__(self) -> None:
            raise RuntimeStartError("no cluster")

        async def __aexit__(self, *error: Any) -> None:
            raise AssertionError

    shared = Shared(Closed(), width=2)
    for _ in range(2):
        with pytest.raises(RuntimeStartError, match="no cluster"):
            await row("add").run(linger, runtime=shared)
