"""Tasksets and jobs: order, groups, limits, names, files.

Source: command-line and SDK specification, sections 8, 8.1 and 9.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hud import Environment, Job, LocalRuntime, Run, Runtime, RuntimeConfig, RuntimeLimits, Task, Taskset
from hud.errors import NotFoundError, UsageError
from tests.hud.eval.strategies import tasks_of


@pytest.fixture
def environment() -> Environment:
    env = Environment("sums")

    @env.template()
    async def add(a: int = 0, b: int = 0) -> AsyncIterator[Any]:
        answer = yield f"What is {a} + {b}?"
        yield 1.0 if answer == a + b else 0.0

    @env.template()
    async def rate(score: float) -> AsyncIterator[Any]:
        yield "Whatever."
        yield {"score": score, "subscores": [{"name": "style", "value": 1.0, "info": {"evidence": "…"}}]}

    @env.template()
    async def fail() -> AsyncIterator[Any]:
        yield "Whatever."
        raise ValueError("no grade today")

    return env


@pytest.fixture
def runtime(environment: Environment) -> LocalRuntime:
    return LocalRuntime(environment, width=100)


def add(a: int, b: int = 0) -> Task:
    return Task("sums", "add", {"a": a, "b": b})


async def sum_up(run: Run) -> int:
    return int(run.task.args["a"] + run.task.args["b"])


async def nothing(run: Run) -> None:
    return None


# Jobs


async def test_runs_are_task_by_task_whatever_order_they_finish_in(runtime: LocalRuntime) -> None:
    finished: list[str] = []

    async def agent(run: Run) -> int:
        await asyncio.sleep(0.05 * (3 - run.task.args["a"]))
        finished.append(run.slug)
        return await sum_up(run)

    tasks = Taskset("sums", [add(0), add(1), add(2)])
    job = await tasks.run(agent, runtime=runtime, group=2)

    slugs = [task.slug for task in tasks]
    assert [run.slug for run in job.runs] == [slug for slug in slugs for _ in range(2)]
    assert finished == [slug for slug in reversed(slugs) for _ in range(2)]
    assert job.reward == 1.0


async def test_repeats_of_a_task_share_a_group(runtime: LocalRuntime) -> None:
    job = await Taskset("sums", [add(0), add(1), add(2)]).run(sum_up, runtime=runtime, group=4, max_concurrent=2)

    groups = [run.group_id for run in job.runs]
    assert len(job.runs) == 12
    assert [len(set(groups[start : start + 4])) for start in (0, 4, 8)] == [1, 1, 1]
    assert len(set(groups)) == 3
    assert len({run.trace_id for run in job.runs}) == 12
    assert {run.job_id for run in job.runs} == {job.id}


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_never_more_at_once_than_allowed(runtime: LocalRuntime, limit: int) -> None:
    there = most = 0

    @asynccontextmanager
    async def counted(task: Task) -> AsyncIterator[Runtime]:
        nonlocal there, most
        there += 1
        most = max(most, there)
        try:
            async with runtime(task) as place:
                await asyncio.sleep(0.005)
                yield place
        finally:
            there -= 1

    tasks = Taskset("sums", [add(n) for n in range(4)])
    async with runtime:
        job = await tasks.run(sum_up, runtime=counted, group=3, max_concurrent=limit)
    assert most == limit
    assert len(job.runs) == 12
    assert job.reward == 1.0


@pytest.mark.parametrize(
    ("rows", "group", "name"),
    [
        ([add(1)], 1, "add"),
        ([add(1)], 3, "add (3 times)"),
        ([add(1), add(2)], 1, "sums (2 tasks)"),
        ([add(1), add(2)], 3, "sums (2 tasks) (3 times)"),
        ([], 1, "sums (0 tasks)"),
    ],
)
async def test_a_job_is_named_for_what_it_runs(runtime: LocalRuntime, rows: list[Task], group: int, name: str) -> None:
    job = await Taskset("sums", rows, taskset_id="ts-1").run(sum_up, runtime=runtime, group=group)
    assert job.name == name
    assert job.group == group
    assert job.taskset_id == "ts-1"
    assert len(job.id) == 32
    int(job.id, 16)


async def test_an_empty_taskset_gives_an_empty_job() -> None:
    job = await Taskset("none").run(sum_up)
    assert (job.runs, job.reward, job.errors, job.results) == ([], 0.0, [], {})


async def test_several_calls_add_to_one_job(runtime: LocalRuntime) -> None:
    job = await Job.start("training step 7", group=2)
    assert await add(1).run(sum_up, runtime=runtime, job=job) is job
    assert await Taskset("more", [add(2), add(3)]).run(sum_up, runtime=runtime, job=job, group=1) is job

    assert job.name == "training step 7"
    assert [run.task.args["a"] for run in job.runs] == [1, 1, 2, 3]
    assert list(job.results) == [add(1).slug, add(2).slug, add(3).slug]
    assert [len(runs) for runs in job.results.values()] == [2, 1, 1]


async def test_the_reward_is_the_mean_of_the_graded_runs(runtime: LocalRuntime) -> None:
    rows = [
        Task("sums", "rate", {"score": 1}),
        Task("sums", "rate", {"score": -3}),
        Task("sums", "rate", {"score": 2.5}),
        Task("sums", "fail"),
    ]
    job = await Taskset("ratings", rows).run(nothing, runtime=runtime)
    assert job.reward == pytest.approx(0.5 / 3)
    assert [run.slug for run in job.errors] == ["fail"]


async def test_the_evaluation_is_shown_without_the_evidence_of_its_subscores(runtime: LocalRuntime) -> None:
    (run,) = (await Task("sums", "rate", {"score": 1}).run(nothing, runtime=runtime)).runs
    assert run.evaluation["subscores"] == [{"name": "style", "value": 1.0}]
    assert run.grade.raw["subscores"] == [{"name": "style", "value": 1.0, "info": {"evidence": "…"}}]


async def test_a_failing_rollout_never_stops_its_siblings(runtime: LocalRuntime) -> None:
    async def agent(run: Run) -> int:
        if run.task.args["a"] % 2:
            raise RuntimeError("odd")
        return await sum_up(run)

    job = await Taskset("sums", [add(n) for n in range(6)]).run(agent, runtime=runtime, max_concurrent=2)
    assert [run.reward for run in job.runs] == [1.0, 0.0] * 3
    assert [run.trace.is_error for run in job.runs] == [False, True] * 3


async def test_a_cancelled_call_keeps_the_runs_that_were_over(runtime: LocalRuntime) -> None:
    job = await Job.start("interrupted")

    async def agent(run: Run) -> int:
        if run.task.args["a"] == 2:
            await asyncio.sleep(60)
        return await sum_up(run)

    tasks = Taskset("sums", [add(0), add(1), add(2), add(3)])
    running = asyncio.create_task(tasks.run(agent, runtime=runtime, max_concurrent=1, job=job))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [run.task.args["a"] for run in job.runs] == [0, 1]


# What is refused before anything starts


def limited(agent_s: float | None, startup_s: float | None, run_s: float | None) -> Task:
    limits = RuntimeLimits(startup_timeout_s=startup_s, run_timeout_s=run_s)
    config = None if startup_s is None and run_s is None else RuntimeConfig(limits=limits)
    return Task(
        "sums", "add", agent_config=None if agent_s is None else {"timeout_seconds": agent_s}, runtime_config=config
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": 0}, "group is 0: give at least 1"),
        ({"group": -1}, "group is -1: give at least 1"),
        ({"max_concurrent": 0}, "max_concurrent is 0: give at least 1, or None for no limit"),
        ({"rollout_timeout": 0}, "rollout_timeout is 0: give seconds above 0"),
        ({"rollout_timeout": math.nan}, "rollout_timeout is nan: give seconds above 0"),
        ({"runtime": "env.py"}, "the runtime is 'env.py'"),
    ],
)
async def test_a_number_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        await add(1).run(sum_up, **{"runtime": _never, **options})
    assert caught.value.message == message


async def test_what_is_no_agent_is_refused() -> None:
    with pytest.raises(UsageError, match="the agent is 'claude'"):
        await add(1).run(cast(Any, "claude"), runtime=_never)


@pytest.mark.parametrize(
    ("task", "rollout_timeout", "message"),
    [
        (limited(10, None, 10), None, "the agent's timeout_seconds (10) must be below run_timeout_s (10)"),
        (limited(10, None, None), 10, "the agent's timeout_seconds (10) must be below rollout_timeout (10)"),
        (limited(None, 30, None), 20, "startup_timeout_s (30) must be below rollout_timeout (20)"),
        (limited(None, None, 30), 20, "run_timeout_s (30) must be below rollout_timeout (20)"),
        (limited(0, None, None), None, "the agent's timeout_seconds is 0: give seconds above 0"),
        (limited(math.inf, None, None), None, "the agent's timeout_seconds is inf: give seconds above 0"),
        (limited(cast(Any, "5"), None, None), None, "the agent's timeout_seconds is '5': give seconds above 0"),
    ],
)
async def test_deadlines_that_contradict_each_other_are_refused(
    task: Task, rollout_timeout: float | None, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        await task.run(nothing, runtime=_never, rollout_timeout=rollout_timeout)
    assert caught.value.message == f"task 'add': {message}"


def _never(task: Task) -> Any:
    raise AssertionError("something was started")


# Where rows run by default


async def test_rows_made_from_live_environments_run_on_them() -> None:
    def make(name: str) -> tuple[Environment, Any]:
        env = Environment(name)

        @env.template()
        async def who() -> AsyncIterator[Any]:
            yield env.name
            yield 1.0

        @env.template()
        async def verify() -> AsyncIterator[Any]:
            yield None
            yield 0.5

        return env, who

    _, ask_first = make("one")
    _, ask_second = make("two")
    _, ask_twin = make("one")  # another environment of the same name
    first, second, twin = ask_first(), ask_second(), ask_twin()
    second.slug, twin.slug = "second", "twin"
    twin.verifier = Task("two", "verify")

    job = await Taskset("all", [first, second, twin]).run(nothing)
    assert [(run.prompt, run.reward, run.trace.error) for run in job.runs] == [
        ("one", 1.0, None),
        ("two", 1.0, None),
        ("one", 0.5, None),
    ]


async def test_a_row_made_from_a_live_environment_runs_alone_too(environment: Environment) -> None:
    job = await environment.templates["add"](a=1, b=2).run(sum_up, group=3)
    assert job.reward == 1.0


async def test_rows_that_name_an_image_run_in_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    (run,) = (await Task("sums", "add", runtime_config={"image": "sums:1"}).run(nothing)).runs
    assert run.phase == "provision"
    assert "/nowhere.sock" in str(run.error)


async def test_rows_from_nowhere_need_a_runtime() -> None:
    with pytest.raises(UsageError, match="there is no runtime to run these tasks on") as caught:
        await add(1).run(sum_up)
    for name in ("LocalRuntime", "DockerRuntime", "Runtime("):
        assert name in cast(str, caught.value.hint)


# Tasksets as collections, and their files


def test_a_taskset_is_an_ordered_collection_of_rows() -> None:
    rows = [add(2), add(0), add(1)]
    tasks = Taskset("sums", rows)
    assert len(tasks) == 3
    assert list(tasks) == rows
    assert tasks[rows[1].slug] is rows[1]
    assert list(tasks.items()) == [(row.slug, row) for row in rows]
    assert Taskset().name == "taskset"
    with pytest.raises(KeyError):
        tasks["nothing"]


def test_two_rows_of_one_slug_are_refused() -> None:
    with pytest.raises(UsageError, match="two tasks have the slug 'add-"):
        Taskset("sums", [add(1), add(1)])
    assert len(Taskset("sums", [row := add(1), row])) == 1


def test_filter_and_exclude_keep_order_name_and_id() -> None:
    rows = [add(n) for n in range(4)]
    tasks = Taskset("sums", rows, taskset_id="ts-1")
    kept = tasks.filter([rows[2].slug, rows[0].slug])
    dropped = tasks.exclude([rows[2].slug, rows[0].slug, "unknown"])
    assert list(kept) == [rows[0], rows[2]]
    assert list(dropped) == [rows[1], rows[3]]
    assert {(t.name, t.taskset_id) for t in (kept, dropped)} == {("sums", "ts-1")}
    with pytest.raises(UsageError, match="no task 'unknown' in taskset 'sums'"):
        tasks.filter(["unknown"])


def test_the_environments_of_verifiers_count() -> None:
    task = add(1)
    task.verifier = Task("judge", "read")
    assert Taskset("sums", [task, add(2)]).environment_names() == {"sums", "judge"}


@settings(max_examples=40)
@given(st.lists(tasks_of(verifiers=True), max_size=4, unique_by=lambda task: task.slug), st.sampled_from(["", "l"]))
def test_a_file_gives_back_the_rows_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Task], kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"rows.json{kind}"
    Taskset("whatever", rows).to_file(path)
    read = Taskset.from_file(path)
    assert list(read) == rows
    assert [task.to_row() for task in read] == [task.to_row() for task in rows]
    assert read.name == "rows"


def test_a_file_holds_only_what_was_set(tmp_path: Path) -> None:
    Taskset("sums", [Task("sums", "add")]).to_file(tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == [{"env": "sums", "id": "add", "args": {}, "slug": "add"}]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    Taskset("sums", [add(1)]).to_file(path)
    before = path.read_text()
    with pytest.raises(UsageError, match="task 'add' holds what JSON cannot carry"):
        Taskset("sums", [add(2), Task("sums", "add", {"a": object()}, slug="add")]).to_file(path)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.json", "{", "is not JSON"),
        ("rows.json", "3", "row 0: a task row is an object, got int"),
        ("rows.json", '[{"env": "e", "id": "t"}, {"env": "e"}]', "row 1: a task row needs 'id'"),
        ("rows.json", '[{"env": "e", "id": "t", "verifier": 3}]', "row 0: a task's verifier is an object"),
        ("rows.json", '[{"env": "e", "id": "t", "runtime_config": "big"}]', "row 0: a task's runtime_config is an obj"),
        ("rows.jsonl", '{"env": "e", "id": "t"}\n\n{"env": "e", "id": "t"}', "duplicate task slugs in"),
        ("rows.jsonl", '{"env": "e", "id": "t"}\n{"env"', "rows.jsonl:2 is not JSON"),
        ("rows.yaml", "", "is no task source"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_place(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as caught:
        Taskset.from_file(tmp_path / name)
    assert message in caught.value.message


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file or folder"):
        Taskset.from_file(tmp_path / "rows.json")


def test_other_suffixes_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither \.json nor \.jsonl"):
        Taskset("sums").to_file(tmp_path / "rows.yaml")


def test_python_source_gives_its_rows(tmp_path: Path) -> None:
    (tmp_path / "env.py").write_text(
        "from hud import Environment\n"
        "env = Environment('sums')\n"
        "@env.template()\n"
        "async def add(a: int = 0):\n"
        "    yield 'p'\n"
        "    yield 1.0\n"
    )
    (tmp_path / "tasks.py").write_text("from env import add\ntasks = [add(a=1), add(a=2)]\nthe_rest = add(a=3)\n")
    tasks = Taskset.from_module(tmp_path / "tasks.py")
    assert [task.args["a"] for task in tasks] == [1, 2, 3]
    assert tasks.name == "tasks"
    assert len(Taskset.from_file(tmp_path)) == 3
    with pytest.raises(UsageError, match="is no Python source"):
        Taskset.from_module(tmp_path / "rows.json")


def test_rows_in_place_of_a_tasksets_name_are_refused() -> None:
    with pytest.raises(UsageError, match="the name of a taskset is text, got a list"):
        Taskset([add(0)])  # type: ignore[arg-type]
