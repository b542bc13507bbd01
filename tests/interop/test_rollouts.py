"""Whole rollouts through `Runtime(url)`: one kind of client with an agent of its own kind, the other kind of server.

Golden facts, seen on release 0.6.21 where the specification leaves room:

- An agent derives from `hud.agents.base.Agent` and calls its constructor; a plain async function is refused.
  Ours takes any async callable.
- A rollout on a connection starts the verifier row there, after the actor was graded (section 7).
- An evaluation with `isError` leaves the public trace `completed`, with the content as its `error`; ours is `error`.
- Where the prompt is None, the public run has one empty user message; ours has none.
- A run that was never started has task id "" and runtime None in the public SDK; ours keeps both.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Pair

pytestmark = pytest.mark.peer

MEBIBYTE = 1 << 20


def row(slug: str, id: str, verifier: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    made = {"env": "interop", "id": id, "args": args, "slug": slug}
    return made | ({"verifier": verifier} if verifier else {})


ROWS = [
    row("text", "add", a=4),
    row("turns", "ask", form="turns"),
    row("models", "ask", form="models"),
    row("mapping", "ask", form="mapping"),
    row("nothing", "ask", form="nothing"),
    row("agent fails", "ask", form="text"),
    row("rated mapping", "rate", form="mapping"),
    row("rated result", "rate", form="result"),
    row("rated true", "rate", form="true"),
    row("failed result", "rate", form="failed"),
    row("typed answer", "judge"),
    row("long", "long", size=MEBIBYTE),
    row("fails to start", "fail", where="start"),
    row("fails to grade", "fail", where="grade"),
    row("unknown", "nope"),
    row("wrong argument", "add", c=1),
    row("verified", "add", row("its verifier", "verify", share=0.25), a=1),
]
LATE_ROWS = [row("late start", "slow", tag="late start", start_s=60), row("late grade", "slow", tag="late", grade_s=60)]

ANSWERS = {
    "What is 4+2?": "6",
    "What is 1+2?": "3",
    "be brief\n\nhi\n\nthere\n\nyo": "seen",
    "hi": "seen",
    "p": "seen",
    "Grüße, 世界": "raise",
    "Answer with JSON.": '{"final": 3}',
    "x" * MEBIBYTE: "yy",
}

LATE_S = 2.0


class Jobs:
    """What a client's two jobs came to."""

    def __init__(self, finished: dict[str, Any], late: dict[str, Any]) -> None:
        self.finished = finished
        self.late = late
        self._runs = {run["slug"]: run for run in finished["runs"] + late["runs"]}

    def __getitem__(self, slug: str) -> dict[str, Any]:
        run: dict[str, Any] = self._runs[slug]
        return run


@pytest.fixture(scope="session")
def jobs(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    folder = tmp_path_factory.mktemp("rows")
    orders = []
    for name, rows, rollout_timeout_s in (("all", ROWS, 60.0), ("late", LATE_ROWS, LATE_S)):
        file: Path = folder / f"{name}.json"
        file.write_text(json.dumps(rows))
        orders.append({"rows": str(file), "rollout_timeout_s": rollout_timeout_s})
    return Jobs(*pair.client.run("roll.py", pair.server.url, given={"answers": ANSWERS, "jobs": orders}))


def test_the_job_means_over_what_was_graded(jobs: Jobs) -> None:
    rewards = [run["reward"] for run in jobs.finished["runs"] if not run["is_error"]]
    assert [run["slug"] for run in jobs.finished["runs"]] == [row["slug"] for row in ROWS]
    assert jobs.finished["name"] == f"all ({len(ROWS)} tasks)"
    assert jobs.finished["errors"] == len(ROWS) - len(rewards) == 5
    assert jobs.finished["reward"] == pytest.approx(sum(rewards) / len(rewards))


@pytest.mark.parametrize(
    ("slug", "prompt", "text", "roles", "bindings"),
    [
        ("text", "What is 4+2?", "What is 4+2?", ["user"], {}),
        ("models", [{"role": "user", "content": "hi"}], "hi", ["user"], {}),
        ("mapping", "p", "p", ["user"], {"robot": {"token": "slot-0"}}),
        ("turns", ..., "be brief\n\nhi\n\nthere\n\nyo", ["user", "user", "user", "assistant"], {}),
        ("nothing", None, "", ..., {}),
        ("long", "x" * MEBIBYTE, "x" * MEBIBYTE, ["user"], {}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_the_agent_sees_the_prompt_in_every_form(
    jobs: Jobs, slug: str, prompt: Any, text: str, roles: Any, bindings: Any
) -> None:
    run = jobs[slug]
    assert prompt in (run["prompt"], ...)
    assert roles in (run["roles"], ...)
    assert (run["text"], run["bindings"]) == (text, bindings)


@pytest.mark.parametrize(
    ("slug", "reward", "evaluation"),
    [
        ("text", 1.0, {"score": 1.0}),
        ("turns", 1.0, {"score": 1.0, "answer": "seen"}),
        ("nothing", 1.0, {"score": 1.0, "answer": None}),
        ("rated mapping", 0.5, {"score": 0.5, "info": {"k": [1, 2]}, "zzz": "extra"}),
        ("rated true", 1.0, {"score": 1.0}),
        ("long", 1.0, {"score": 1.0, "answered": 2, "content": "yy"}),
        ("typed answer", 1.0, ...),
        ("rated result", 0.75, ...),
        ("verified", 0.25, {"score": 0.25, "of": {"score": 1.0}}),
    ],
)
def test_the_answer_is_graded_and_the_evaluation_kept(jobs: Jobs, slug: str, reward: float, evaluation: Any) -> None:
    run = jobs[slug]
    assert (run["reward"], run["is_error"], run["done"], run["status"], run["error"]) == (
        *(reward, False, True),
        *("completed", None),
    )
    assert evaluation in (run["evaluation"], ...)


def test_a_structured_evaluation_keeps_its_parts_without_their_evidence(jobs: Jobs) -> None:
    run = jobs["rated result"]
    assert (run["content"], run["info"]) == ("nice", {"a": 1})
    assert run["evaluation"]["subscores"] == [
        {"name": "style", "weight": 0.5, "value": 0.5, "children": None},
        {
            "name": "tests",
            "weight": 0.5,
            "value": 1.0,
            "children": [{"name": "unit", "weight": 1.0, "value": 1.0, "children": None}],
        },
    ]


def test_an_agent_that_fails_is_graded_all_the_same(jobs: Jobs) -> None:
    run = jobs["agent fails"]
    assert (run["reward"], run["is_error"], run["status"]) == (1.0, False, "error")
    assert "RuntimeError: the agent lost its way" in run["error"]


def test_an_evaluation_may_say_that_grading_failed(jobs: Jobs) -> None:
    run = jobs["failed result"]
    assert (run["is_error"], run["content"]) == (True, "the checker broke")
    assert "the checker broke" in run["error"]


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("fails to start", "hud rpc error -32000: boom at start"),
        ("fails to grade", "hud rpc error -32000: 'boom at grade'"),
        ("unknown", "hud rpc error -32602: unknown task: 'nope'"),
        ("wrong argument", "hud rpc error -32000: task 'add': bad args ['c']: missing a required argument: 'a'"),
    ],
)
def test_what_the_environment_refuses_is_an_error_without_a_grade(jobs: Jobs, slug: str, message: str) -> None:
    run = jobs[slug]
    assert (run["reward"], run["is_error"], run["status"], run["evaluation"]) == (0.0, True, "error", {})
    assert message in run["error"]


def test_a_rollout_that_takes_too_long_is_cancelled_in_the_environment_too(pair: Pair, jobs: Jobs) -> None:
    assert jobs.late["errors"] == 2
    for slug in ("late start", "late grade"):
        assert (jobs[slug]["is_error"], jobs[slug]["status"]) == (True, "error")
        assert "2 s" in jobs[slug]["error"].replace("2s", "2 s")
    deadline = time.monotonic() + 10
    while not {"closed late start", "closed late"} <= set(pair.server.journal()):
        assert time.monotonic() < deadline, pair.server.journal()
        time.sleep(0.05)


def test_a_trace_tells_start_prompt_and_grade(jobs: Jobs) -> None:
    assert jobs["text"]["steps"] == ["task", "user", "task"]
    assert jobs["verified"]["steps"] == ["task", "user", "task", "task", "task"]
