"""The log of a build: every watcher gets every frame once and in order, whenever it comes and however slow it is."""

from __future__ import annotations

import asyncio
import json
import resource
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.errors import HudError
from hud_platform.builds.build_log import BATCH_S, BuildLog, Logs, LogWriter

LIMIT_BYTES = 64 * 2**20


@pytest.fixture
def log(tmp_path: Path) -> BuildLog:
    return Logs(tmp_path).of(uuid.uuid4())


def writer(log: BuildLog, limit_bytes: int = LIMIT_BYTES) -> LogWriter:
    return LogWriter(log, limit_bytes=limit_bytes)


async def frames(watching: AsyncIterator[str]) -> list[dict[str, Any]]:
    return [json.loads(frame) async for frame in watching]


def in_file(log: BuildLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_bytes().splitlines()]


def text_of(shown: list[dict[str, Any]]) -> list[str]:
    return [line for frame in shown for line in frame["message"].split("\n")]


async def test_lines_of_one_step_travel_together_and_others_do_not(log: BuildLog) -> None:
    with writer(log) as writing:
        writing.status("Building")
        for number in range(3):
            writing.line(f"line {number}", step="[1/2] RUN a")
        writing.line("other", step="[2/2] RUN b")
        await asyncio.sleep(BATCH_S * 2)
        written = in_file(log)
    assert [(frame["type"], frame["seq"], frame.get("step")) for frame in written] == [
        ("status", 0, None),
        ("log", 1, "[1/2] RUN a"),
        ("log", 2, "[2/2] RUN b"),
    ]
    assert written[1]["message"] == "line 0\nline 1\nline 2"


async def test_the_end_of_a_step_is_the_last_line_of_its_frame_and_marked(log: BuildLog) -> None:
    with writer(log) as writing:
        writing.line("ERROR: a word of the step's own", step="[1/2] RUN a")
        writing.line("DONE 1.0s", step="[1/2] RUN a", kept=True, ended=True)
        writing.line("late", step="[1/2] RUN a")
    assert [(frame["message"].split("\n")[-1], frame.get("ended")) for frame in in_file(log)] == [
        ("DONE 1.0s", True),
        ("late", None),
    ]


async def test_pa_13_times_are_whole_milliseconds_and_frames_have_an_end(log: BuildLog) -> None:
    with writer(log) as writing:
        for _ in range(40):
            writing.line("\0" * 32_000)
    sizes = [len(line) for line in log.path.read_bytes().splitlines()]
    assert max(sizes) <= 1 << 20
    assert all(isinstance(frame["timestamp"], int) for frame in in_file(log))


async def test_pa_15_every_watcher_gets_everything_also_after_the_end(log: BuildLog) -> None:
    early = asyncio.create_task(frames(log.watch()))
    with writer(log) as writing:
        for number in range(200):
            writing.line(f"line {number}")
            if number % 50 == 0:
                await asyncio.sleep(BATCH_S * 1.5)
        midway = asyncio.create_task(frames(log.watch()))
        await asyncio.sleep(BATCH_S)
    log.end()
    late = await frames(log.watch())
    assert text_of(late) == [f"line {number}" for number in range(200)]
    assert await early == late == await midway


@given(cursor=st.integers(0, 40))
async def test_a_cursor_gives_the_frames_from_there_on(tmp_path_factory: pytest.TempPathFactory, cursor: int) -> None:
    log = Logs(tmp_path_factory.mktemp("logs")).of(uuid.uuid4())
    with writer(log) as writing:
        for number in range(30):
            writing.status(f"frame {number}")
        log.end()
        recent = await frames(log.watch(cursor))
    afresh = BuildLog(log.path)
    afresh.end()
    assert [frame["seq"] for frame in recent] == list(range(cursor, 30))
    assert await frames(afresh.watch(cursor)) == recent


async def test_a_slow_watcher_holds_nobody_up_and_misses_nothing(log: BuildLog) -> None:
    slow = log.watch()
    with writer(log) as writing:
        writing.status("first")
        seen = [json.loads(await anext(slow))]
        for number in range(300):
            writing.line(f"{number} {'x' * 60_000}", step=str(number % 2))
        fast = asyncio.create_task(frames(log.watch()))
        await asyncio.sleep(BATCH_S)
    log.end()
    seen += await frames(slow)
    assert [frame["seq"] for frame in seen] == list(range(301))
    assert await fast == seen


async def test_a_log_goes_on_where_a_killed_server_left_it(log: BuildLog) -> None:
    with writer(log) as writing:
        writing.status("before")
    with log.path.open("ab") as file:
        file.write(b'{"type":"log","seq":1,"mess')
    afresh = BuildLog(log.path)
    watching = asyncio.create_task(frames(afresh.watch()))
    await asyncio.sleep(BATCH_S)
    with writer(afresh) as writing:
        assert writing.frames == 1
        writing.status("after")
    afresh.end()
    assert [(frame["seq"], frame["message"]) for frame in await watching] == [(0, "before"), (1, "after")]


async def test_of_a_log_that_is_too_long_beginning_and_end_are_kept(log: BuildLog) -> None:
    with writer(log, limit_bytes=64_000) as writing:
        for number in range(20_000):
            writing.line(f"line {number}", step="[1/1] RUN loud")
        writing.line("DONE 3.0s", step="[1/1] RUN loud", kept=True)
    shown = text_of(in_file(log))
    assert log.path.stat().st_size < 80_000
    assert shown[:2] == ["line 0", "line 1"]
    assert shown[-1] == "line 19999"
    assert [line for line in shown if "left out" in line] == [
        "The log has reached 56000 bytes: what follows is left out, but its end",
        next(line for line in shown if line.endswith("bytes of the log were left out here")),
    ]
    assert "DONE 3.0s" in shown


async def test_a_full_disk_is_told_and_leaves_whole_frames(log: BuildLog) -> None:
    with writer(log) as writing:
        writing.status("fits")
        with _no_more_than(log.path.stat().st_size + 20), pytest.raises(HudError, match="log cannot be written"):
            writing.status("does not fit")
        writing.status("fits again")
    assert [(frame["seq"], frame["message"]) for frame in in_file(log)] == [(0, "fits"), (1, "fits again")]


@contextmanager
def _no_more_than(size_bytes: int) -> Iterator[None]:
    """Have the kernel refuse to make any file of this process longer, as a full disk does."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


async def test_names_that_are_no_text_are_shown(log: BuildLog) -> None:
    with writer(log) as writing:
        writing.status("no file \udcff here")
    assert in_file(log)[0]["message"] == "no file ? here"
