"""`hud task start` and `grade` of one implementation on an environment that the other serves.

Golden facts, seen on release 0.6.21 where the specification leaves room:

- An answer file is read as text by the public command: CRLF arrives as LF. Ours sends it byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import Pair
from tests.interop.parties import Done, Party, Server

pytestmark = pytest.mark.peer


@pytest.fixture(
    scope="module",
    params=[("theirs", "ours"), ("ours", "theirs")],
    ids=["their-command-our-server", "our-command-their-server"],
)
def crossing(request: pytest.FixtureRequest, ours: Party, theirs: Party, servers: dict[str, Server]) -> Pair:
    client, server = request.param
    return Pair({"ours": ours, "theirs": theirs}[client], servers[server])


@pytest.fixture
def task(crossing: Pair) -> Callable[..., Done]:
    """Run `hud task …` on the served environment."""

    def run(*words: str, stdin: bytes = b"") -> Done:
        return crossing.client.hud("task", *words, "--url", crossing.server.url, stdin=stdin)

    return run


def test_start_prints_the_prompt_and_grade_the_score_of_the_parked_task(
    task: Callable[..., Done], crossing: Pair
) -> None:
    args = ("--args", '{"tag": "Grüße"}')
    before = len(crossing.server.journal())
    assert task("start", "slow", *args) == Done(0, "Grüße\n", "")
    assert task("grade", "slow", *args, "--answer", "a").out == "1.0\n"
    assert crossing.server.journal()[before:] == ["started Grüße", "closed Grüße"]


def test_a_structured_prompt_is_printed_as_json_and_with_json_the_whole_frame(task: Callable[..., Done]) -> None:
    form = ("--args", '{"form": "models"}')
    assert task("start", "ask", *form).out == '[{"role": "user", "content": "hi"}]\n'
    graded = task("grade", "ask", *form, "--json")
    assert graded.out == json.dumps({"score": 1.0, "answer": ""}, indent=2) + "\n"


@pytest.mark.parametrize("file", ["answer.txt", "-"], ids=["file", "standard-input"])
def test_grade_alone_starts_the_task_and_takes_the_answer_from_a_file(
    task: Callable[..., Done], tmp_path: Path, file: str
) -> None:
    answer = "zwei Zeilen,\nä \t\n"
    if file != "-":
        file = str(tmp_path / file)
        Path(file).write_bytes(answer.encode())
    graded = task("grade", "ask", "--args", '{"form": "text"}', "--answer-file", file, "--json", stdin=answer.encode())
    assert json.loads(graded.out) == {"score": 1.0, "answer": answer}


def test_a_mebibyte_prompt_is_printed(task: Callable[..., Done], ours: Party, crossing: Pair) -> None:
    size = ("--args", '{"size": 1048576}')
    assert task("start", "long", *size).out == "x" * 1048576 + "\n"
    assert ours.hud("task", "grade", "long", *size, "--url", crossing.server.url).out == "1.0\n"


def test_a_row_of_a_source_is_graded_on_the_served_environment(task: Callable[..., Done], crossing: Pair) -> None:
    assert task("grade", "easy", "--source", str(crossing.server.folder), "--answer", "6").out == "1.0\n"


def test_what_the_server_refuses_is_an_error_on_stderr_with_exit_code_1(task: Callable[..., Done]) -> None:
    refused = task("start", "fail", "--args", '{"where": "start"}')
    assert (refused.code, refused.out) == (1, "")
    assert "hud rpc error -32000: boom at start" in refused.err


@pytest.mark.parametrize(
    ("first", "second", "server"),
    [("ours", "theirs", "theirs"), ("theirs", "ours", "ours"), ("ours", "theirs", "ours")],
)
def test_what_one_command_started_the_other_grades(
    ours: Party, theirs: Party, servers: dict[str, Server], first: str, second: str, server: str
) -> None:
    commands = {"ours": ours, "theirs": theirs}
    where = ("--url", servers[server].url)
    started = commands[first].hud("task", "start", "add", "--args", '{"a": 20, "b": 22}', *where)
    graded = commands[second].hud("task", "grade", "add", "--args", '{"a": 20, "b": 22}', "--answer", "42", *where)
    assert (started.out, graded.out) == ("What is 20+22?\n", "1.0\n")
