"""The contract of a runtime, run over every provider: a new one starts by joining the list in `places`.

Source: command-line and SDK specification, sections 7 to 11; design, decisions 5 and 18.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hud import Run, RuntimeConfig, RuntimeResources, Taskset
from hud.errors import HudError, HudProtocolError, UsageError
from hud.eval import rollout
from hud.eval.runtimes import opened
from hud.eval.runtimes.docker import DockerRuntime
from tests.hud.eval import docker_image, places
from tests.hud.eval.places import LOCAL, Phases, Place, accepts, left_running, reached, row

FRESH = ["path", "callable", "subprocess", "function", "docker"]
PROCESS = ["path", "subprocess", "function", "docker"]
CHOOSING = ["path", "callable", "subprocess", "function", "shared"]
LENT = ["live", "url", "shared"]
EVERY = [*LOCAL, "docker"]


def over(names: list[str]) -> pytest.MarkDecorator:
    """Run a test over these providers."""
    docker = pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.timeout(180)])
    return pytest.mark.parametrize("place", [docker if name == "docker" else name for name in names], indirect=True)


@pytest.fixture(scope="session")
def contract_image(wheel: Path, build_image: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that serves the contract's environment, and the other one where it is told to."""
    folder = docker_image.write_folder(tmp_path_factory.mktemp("contract-image"), wheel)
    places.write_source(folder)
    dockerfile = folder / "Dockerfile.hud"
    dockerfile.write_text(dockerfile.read_text().replace('"/app/env.py",', '"/app/env.py", "--env", "contract",'))
    return build_image(folder)


@pytest.fixture
async def place(request: pytest.FixtureRequest, tmp_path: Path, mark: str) -> AsyncIterator[Place]:
    if request.param == "docker":
        yield Place(provider=DockerRuntime(request.getfixturevalue("contract_image")), chooses=False)
        assert docker_image.own_containers() == []
        return
    async with LOCAL[request.param](tmp_path / "source") as made:
        yield made


async def add_up(run: Run) -> str:
    return str(run.task.args["a"] + run.task.args["b"])


async def say_nothing(run: Run) -> None:
    return None


async def hang(run: Run) -> None:
    await asyncio.sleep(3600)


# Rewards


@over(EVERY)
async def test_a_right_answer_gives_one_and_a_wrong_one_nothing(place: Place) -> None:
    async def agent(run: Run) -> str:
        return await add_up(run) if run.task.args["a"] else "I do not know"

    job = await Taskset("sums", [row("add", a=3, b=4), row("add", a=0, b=4)]).run(agent, runtime=place.provider)

    assert [run.reward for run in job.runs] == [1.0, 0.0]
    assert [run.error for run in job.runs] == [None, None]
    assert [run.trace.status for run in job.runs] == ["completed", "completed"]
    assert [run.prompt for run in job.runs] == ["What is 3 + 4?", "What is 0 + 4?"]
    assert job.reward == 0.5
    assert job.errors == []


@over(EVERY)
async def test_an_answer_may_be_returned_or_set_on_the_trace(place: Place) -> None:
    async def agent(run: Run) -> None:
        run.trace.content = await add_up(run)

    job = await row("add", a=1, b=1).run(agent, runtime=place.provider)
    assert job.reward == 1.0


@over(EVERY)
async def test_large_and_foreign_answers_arrive_whole(place: Place) -> None:
    answer = "ñandú 🦤 \u2028" * 100_000

    async def agent(run: Run) -> str:
        return answer

    job = await row("remember", secret=answer).run(agent, runtime=place.provider)
    assert [(run.reward, run.error) for run in job.runs] == [(1.0, None)]


@over(EVERY)
async def test_what_a_run_says_of_itself(place: Place) -> None:
    async def agent(run: Run) -> str:
        assert run.client.manifest.name == "contract"
        assert run.phase == "agent"
        return await add_up(run)

    (run,) = (await row("add", a=1, b=2).run(agent, runtime=place.provider)).runs

    assert run.runtime is not None
    assert run.runtime.startswith("tcp://")
    assert [step.source for step in run.trace.steps] == ["task", "user", "task"]
    assert run.evaluation == {"score": 1.0}
    assert run.timings.start > 0
    assert run.timings.grade > 0
    assert run.timings.total < 60


PROMPTS: list[tuple[object, str, list[str]]] = [
    ("Hello.", "Hello.", ["user"]),
    (None, "", []),
    (
        [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes."}],
        "Be brief.\n\nYes.",
        ["user", "assistant"],
    ),
    (
        [{"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}],
        "A\n\nB",
        ["user", "user"],
    ),
]


@over(EVERY)
async def test_each_form_of_a_prompt_reaches_the_agent(place: Place) -> None:
    rows = [row("say", prompt=prompt) for prompt, _, _ in PROMPTS]
    job = await Taskset("prompts", rows).run(say_nothing, runtime=place.provider)

    for run, (prompt, text, roles) in zip(job.runs, PROMPTS, strict=True):
        assert run.error is None
        assert run.prompt == prompt
        assert run.prompt_text == text
        assert [message["role"] for message in run.prompt_messages] == roles


# Isolation


@over(FRESH)
async def test_each_rollout_meets_a_fresh_module(place: Place) -> None:
    job = await row("count").run(say_nothing, runtime=place.provider, group=3, max_concurrent=2)
    assert [run.prompt for run in job.runs] == ["1", "1", "1"]


@over(LENT)
async def test_rollouts_on_a_lent_substrate_meet_one_module(place: Place) -> None:
    job = await row("count").run(say_nothing, runtime=place.provider, group=3, max_concurrent=2)
    assert sorted(str(run.prompt) for run in job.runs) == ["1", "2", "3"]


@over(EVERY)
async def test_rollouts_at_once_do_not_meet(place: Place) -> None:
    async def agent(run: Run) -> str:
        if place.fresh:
            return str(run.task.args["secret"])
        return await add_up(run)

    rows = [row("remember", secret=f"s{n}") if place.fresh else row("add", a=n, b=n) for n in range(6)]
    job = await Taskset("many", rows).run(agent, runtime=place.provider)
    assert [run.reward for run in job.runs] == [1.0] * 6


@over(PROCESS)
async def test_a_blocking_template_does_not_stall_another_rollout(place: Place) -> None:
    async with opened(place.provider) as provider:
        await row("add").run(say_nothing, runtime=provider)  # what is made once is made
        stalled = asyncio.create_task(row("block", seconds=3).run(say_nothing, runtime=provider))
        job = await row("add", a=1, b=2).run(add_up, runtime=provider)
        assert not stalled.done()
        assert job.reward == 1.0
        assert (await stalled).reward == 1.0


@over(CHOOSING)
async def test_the_row_names_the_environment(place: Place) -> None:
    rows = [row("add", a=1, b=2), row("add", env="other", a=2, b=2), row("add", env="nowhere", a=3, b=3)]
    job = await Taskset("rows", rows).run(add_up, runtime=place.provider)

    assert [run.reward for run in job.runs] == [1.0, 0.25, 0.0]
    assert [run.is_graded for run in job.runs] == [True, True, False]
    assert job.runs[2].phase == "provision"
    assert "nowhere" in str(job.runs[2].error)


# Failures: a run without a grade, the phase it failed in, and why


FAILURES = [
    (row("fail", phase="start"), "start", "the dog ate the prompt"),
    (row("fail", phase="grade"), "grade", "the dog ate the answer"),
    (row("nothing"), "start", "unknown task: 'nothing'"),
    (row("add", a="many"), "start", "'a' must be"),
    (row("add", c=3), "start", "'c'"),
    (row("misgrade"), "grade", "ended without an evaluation"),
    (row("misgrade", score="nan"), "grade", "finite"),
]


@over(EVERY)
async def test_an_error_of_the_template_leaves_the_run_ungraded(place: Place) -> None:
    rows = Taskset("failures", [task for task, _, _ in FAILURES])
    job = await rows.run(say_nothing, runtime=place.provider, max_concurrent=4)

    assert job.errors == job.runs
    for run, (_, phase, message) in zip(job.runs, FAILURES, strict=True):
        assert run.phase == phase
        assert isinstance(run.error, HudProtocolError)
        assert message in str(run.error)
        assert run.trace.status == "error"
        assert str(run.trace.error).startswith(f"[{phase}] ")


@over([name for name in EVERY if name not in ("live", "callable", "url", "shared")])
async def test_a_substrate_that_dies_in_use_leaves_the_run_ungraded(place: Place) -> None:
    rows = Taskset("deaths", [row("leave", phase="start"), row("leave", phase="grade"), row("add", a=1, b=1)])
    async with asyncio.timeout(50):
        job = await rows.run(say_nothing, runtime=place.provider)
    assert [run.is_graded for run in job.runs] == [False, False, True]
    assert [run.phase for run in job.errors] == ["start", "grade"]
    assert all(isinstance(run.error, HudError) for run in job.errors)


@over(EVERY)
async def test_an_agent_that_raises_is_graded_all_the_same(place: Place) -> None:
    async def agent(run: Run) -> None:
        run.trace.content = await add_up(run)
        raise RuntimeError("out of ideas")

    (run,) = (await row("add", a=1, b=2).run(agent, runtime=place.provider)).runs

    assert run.reward == 1.0
    assert run.is_graded
    assert run.trace.status == "error"
    assert run.trace.error == "[agent] RuntimeError: out of ideas"
    assert isinstance(run.error, RuntimeError)
    assert run.phase == "agent"


@over(EVERY)
async def test_an_agent_that_takes_too_long_is_stopped_and_graded(place: Place) -> None:
    async def agent(run: Run) -> None:
        run.trace.content = await add_up(run)
        await hang(run)

    task = row("add", a=1, b=2)
    task.agent_config = {"timeout_seconds": 0.2}
    (run,) = (await task.run(agent, runtime=place.provider)).runs

    assert (run.reward, run.is_graded) == (1.0, True)
    assert (run.trace.status, run.trace.stop_reason) == ("error", "timeout")
    assert run.trace.is_truncated
    assert run.trace.error == "[agent] the agent was not done within 0.2 s"


@over([name for name in EVERY if name != "function"])  # which honours what its author pleases
async def test_a_provider_refuses_what_it_cannot_honour(place: Place) -> None:
    task = row("add")
    task.runtime_config = RuntimeConfig(resources=RuntimeResources(os="windows"))
    (run,) = (await task.run(add_up, runtime=place.provider)).runs
    assert not run.is_graded
    assert run.phase == "provision"
    assert isinstance(run.error, UsageError)
    assert "cannot honour runtime_config.resources.os" in str(run.error)


# Deadlines: the rollout's covers provisioning to the grade


@over(EVERY)
async def test_a_rollout_timeout_ends_each_phase_ungraded(place: Place) -> None:
    async def agent(run: Run) -> None:
        if run.task.id == "count":
            await hang(run)

    rows = [row("wait", phase="start"), row("count"), row("wait", phase="grade"), row("add")]
    async with opened(place.provider) as provider:
        await row("add").run(say_nothing, runtime=provider)  # what is made once is made
        job = await Taskset("slow", rows).run(agent, runtime=provider, rollout_timeout=2)

    assert [run.phase for run in job.runs[:3]] == ["start", "agent", "grade"]
    assert [run.is_graded for run in job.runs] == [False, False, False, True]
    assert {str(run.error) for run in job.runs[:3]} == {"the rollout was not over within 2 s"}


@over([name for name in LOCAL if name != "url"])
async def test_a_rollout_timeout_ends_provisioning(place: Place) -> None:
    assert place.folder is not None
    (place.folder / "slow-start").touch()
    (run,) = (await row("add").run(add_up, runtime=place.provider, rollout_timeout=1)).runs
    assert run.phase == "provision"
    assert not run.is_graded
    assert str(run.error) == "the rollout was not over within 1 s"


@over([name for name in LOCAL if name not in ("url", "shared")])
async def test_a_rollout_timeout_does_not_count_the_release(place: Place) -> None:
    assert place.folder is not None
    (place.folder / "slow-stop").write_text("2.2")
    (run,) = (await row("add", a=1, b=2).run(add_up, runtime=place.provider, rollout_timeout=2)).runs
    assert (run.reward, run.error) == (1.0, None)
    assert (place.folder / "stopped").exists()


# Cancellation: nothing is graded, nothing is left


async def cancelled(job: asyncio.Task[object]) -> None:
    job.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await job


@over([name for name in LOCAL if name != "url"])
async def test_cancelled_while_provisioning_nothing_is_left(place: Place, mark: str) -> None:
    assert place.folder is not None
    (place.folder / "slow-start").touch()
    job = asyncio.create_task(row("add").run(add_up, runtime=place.provider))
    await reached(place.folder / "starting")
    await cancelled(job)
    assert left_running(mark) == {}


@over(EVERY)
async def test_cancelled_as_it_begins_nothing_is_left(place: Place, mark: str) -> None:
    phases = Phases(place.provider)
    for turns in range(6):
        job = asyncio.create_task(row("add").run(add_up, runtime=phases))
        await phases.provisioning.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        await cancelled(job)
        phases.provisioning.clear()
    if place.fresh:
        assert left_running(mark) == {}


@over(list(LOCAL))
@pytest.mark.parametrize("phase", ["start", "grade"])
async def test_cancelled_during_a_call_the_template_is_cancelled_too(
    place: Place, mark: str, tmp_path: Path, phase: str
) -> None:
    phases = Phases(place.provider)
    job = asyncio.create_task(row("wait", phase=phase, mark=str(tmp_path / "waiting")).run(say_nothing, runtime=phases))
    await reached(tmp_path / "waiting")
    await cancelled(job)
    if place.fresh:
        assert left_running(mark) == {}
        assert not accepts(phases.urls[0])


@over(EVERY)
async def test_cancelled_while_the_agent_works_nothing_is_left(place: Place, mark: str) -> None:
    working = asyncio.Event()

    async def agent(run: Run) -> None:
        working.set()
        await hang(run)

    phases = Phases(place.provider)
    job = asyncio.create_task(row("count").run(agent, runtime=phases))
    await working.wait()
    await cancelled(job)
    if place.fresh:
        assert left_running(mark) == {}
        assert not accepts(phases.urls[0])
    again = await row("count").run(say_nothing, runtime=place.provider)
    assert again.errors == []


@over([name for name in LOCAL if name not in ("url", "function")])
async def test_cancelled_while_it_is_released_the_release_goes_on_to_its_end(place: Place, mark: str) -> None:
    assert place.folder is not None
    (place.folder / "slow-stop").write_text("0.5")
    phases = Phases(place.provider)
    job = asyncio.create_task(row("add").run(add_up, runtime=phases))
    await phases.releasing.wait()
    await asyncio.sleep(0.1)
    await cancelled(job)
    assert (place.folder / "stopped").exists()
    assert left_running(mark) == {}


# Verifiers


@over(EVERY)
async def test_a_verifier_grades_what_the_actor_was_given(place: Place) -> None:
    task = row("add", a=1, b=2)
    task.verifier = row("halve")
    (run,) = (await task.run(add_up, runtime=place.provider)).runs

    assert run.error is None
    assert run.reward == 0.5
    assert run.evaluation["info"] == {"actor": 1.0}
    assert run.timings.verify > 0


@over(EVERY)
async def test_a_verifier_of_the_same_environment_runs_on_the_same_substrate(place: Place) -> None:
    phases = Phases(place.provider)
    task = row("count")
    task.verifier = row("halve")
    job = await task.run(say_nothing, runtime=phases)
    assert job.errors == []
    assert len(phases.urls) == 1


@over(CHOOSING)
async def test_a_verifier_of_another_environment_runs_after_the_actor_was_released(place: Place) -> None:
    phases = Phases(place.provider)
    task = row("add", a=1, b=2)
    task.verifier = row("add", env="other")
    (run,) = (await task.run(add_up, runtime=phases)).runs

    assert (run.reward, run.error) == (0.25, None)
    assert len(phases.urls) == 2


@over(EVERY)
async def test_without_the_verifiers_grade_there_is_none(place: Place) -> None:
    task = row("add", a=1, b=2)
    task.verifier = row("fail", phase="grade")
    (run,) = (await task.run(add_up, runtime=place.provider)).runs

    assert not run.is_graded
    assert run.reward == 0.0
    assert run.phase == "verify"
    assert "the dog ate the answer" in str(run.error)


# Opening and closing


@over(EVERY)
async def test_a_provider_serves_one_rollout_by_itself(place: Place, mark: str) -> None:
    async with AsyncExitStack() as stack:
        if not callable(getattr(place.provider, "__aenter__", None)) or place.fresh:
            provider = place.provider
        else:
            provider = await stack.enter_async_context(opened(place.provider))
        run = await rollout(row("add", a=1, b=2), add_up, runtime=provider)
    assert (run.reward, run.error) == (1.0, None)
    if place.fresh:
        assert left_running(mark) == {}


@over(EVERY)
async def test_a_provider_may_be_opened_around_several_jobs(place: Place) -> None:
    async with opened(place.provider) as provider:
        first, second = await asyncio.gather(
            row("add", a=1, b=2).run(add_up, runtime=provider), row("add", a=3, b=4).run(add_up, runtime=provider)
        )
        third = await row("add", a=5, b=6).run(add_up, runtime=provider)
    assert [job.reward for job in (first, second, third)] == [1.0, 1.0, 1.0]


@over(["live", "path", "callable", "shared"])
@pytest.mark.parametrize("seed", range(2))
async def test_cancelled_at_any_moment_nothing_is_left(place: Place, mark: str, seed: int) -> None:
    chance = random.Random(seed)
    rows = Taskset("some", [row("add", a=1, b=2), row("count"), row("wait", phase="grade"), row("wait", phase="start")])
    before = None
    for _ in range(12):
        job = asyncio.create_task(
            rows.run(
                add_or_fail,
                runtime=place.provider,
                max_concurrent=chance.choice([None, 1, 2]),
                rollout_timeout=chance.choice([0.03, 0.3]),
            )
        )
        await asyncio.wait({job}, timeout=chance.random() * chance.choice([0.01, 0.1, 0.4]))
        for _ in range(chance.choice([1, 2])):  # a second one while it is being taken down
            job.cancel()
            await asyncio.sleep(chance.random() * 0.01)
        await asyncio.wait({job})
        assert job.cancelled() or job.exception() is None
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(0)
        descriptors = len(os.listdir("/proc/self/fd"))
        before = before or descriptors
        assert descriptors <= before + 2
    assert left_running(mark) == {}


async def add_or_fail(run: Run) -> str:
    await asyncio.sleep(0.005)
    return await add_up(run)
