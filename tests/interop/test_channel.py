"""One kind of client on the other kind of server: `connect`, call by call.

Golden facts, seen on release 0.6.21 where the specification leaves room:

- `client.binding` is a plain function; `start_task`, `grade`, `cancel`, `hello` and `list_tasks` are awaited.
- `manifest` has `session_id`, `protocol_version`, `server_info.name`, `server_info.version` and `bindings`.
- `client.hello(session_id)` takes a parked session over.
- A null answer to a template with `returns` arrives as content None and raw `None`; only a missing one as `""`.
- A positional-only parameter is listed, but the public server refuses every start with it; ours passes it on.
- `tasks.list` puts the schema of a declared type itself under `input` and `returns`, not a reference to it.
- The public client takes no further call while one is under way, `cancel` included. Once its caller gives a call up it
  drops the connection; ours keeps it, so that a `cancel` can follow.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.interop.conftest import Pair
from tests.interop.parties import Party, Server

pytestmark = pytest.mark.peer

MEBIBYTE = 1 << 20


def unnamed(_value: object) -> str:
    """Leave long values out of the names of tests."""
    return ""


def case(id: str, answer: Any = "", **args: Any) -> dict[str, Any]:
    return {"id": id, "args": args, "answer": answer}


ANSWER = {"k": [1, None, "ü", 0.1, True], "z": {}}

PROMPTS: dict[str, Any] = {
    "text": {"prompt": "Grüße, 世界"},
    "turns": {
        "prompt": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]},
            {"role": "assistant", "content": {"type": "text", "text": "yo"}},
        ]
    },
    "models": {"prompt": [{"role": "user", "content": "hi"}]},
    "mapping": {"prompt": "p", "bindings": {"robot": {"token": "slot-0"}}, "extra": [7]},
    "mapping of turns": {"prompt": [{"role": "user", "content": "hi"}]},
    "nothing": {"prompt": None},
}

BARE_RESULT: dict[str, Any] = {"done": True, "content": None, "info": {}, "isError": False, "subscores": None}
BARE_PART: dict[str, Any] = {"weight": 1.0, "children": None, "info": None}

EVALUATIONS: dict[str, Any] = {
    "number": {"score": 0.5},
    "integer": {"score": 1.0},
    "true": {"score": 1.0},
    "beyond": {"score": -2.5},
    "mapping": {"score": 0.5, "info": {"k": [1, 2]}, "zzz": "extra"},
    "integer in a mapping": {"score": 1, "done": False},
    "rewarded": {"score": 0.125},
    "result": BARE_RESULT
    | {
        "content": "nice",
        "info": {"a": 1},
        "subscores": [
            BARE_PART | {"name": "style", "value": 0.5, "weight": 0.5},
            BARE_PART
            | {"name": "tests", "value": 1.0, "weight": 0.5, "info": {"passed": 3}}
            | {"children": [BARE_PART | {"name": "unit", "value": 1.0}]},
        ],
        "score": 0.75,
    },
    "result with extras": BARE_RESULT | {"zzz": "extra", "score": 1.0},
    "result of plain parts": BARE_RESULT
    | {"subscores": [BARE_PART | {"name": "j", "value": 1.0, "info": {"k": 1}}], "score": 1.0},
    "bare result": BARE_RESULT | {"score": 0.0},
    "from a float": BARE_RESULT | {"score": 0.25},
    "failed": BARE_RESULT | {"isError": True, "content": "the checker broke", "score": 0.0},
}

REFUSED_EVALUATIONS = {
    "text": "task graded with str: yield a number, an object with a numeric .reward, or a dict containing a numeric"
    " 'score'",
    "mapping without score": "task 'rate' graded with a dict missing a numeric 'score' (keys: ['reward'])",
    "not a number": "task 'rate' graded with a non-finite score (nan): yield a finite number",
}

ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    (case("typed", count=3), "[3, 0.5, False, 'fast', None, None, None, None, 'red', 1]"),
    (
        case("typed", count="3", ratio=1, flag="yes", tags=["a"], table={"a": "1"}, point={"x": "1"}, level=2),
        "[3, 1.0, True, 'fast', ['a'], {'a': 1}, Point(x=1, y=0), None, 'red', 2]",
    ),
    (
        case("typed", count=3, mode="slow", verdict={"final": "2"}, color="green", point='{"x": 1, "y": 2}'),
        "[3, 0.5, False, 'slow', None, None, Point(x=1, y=2), 2, 'green', 1]",
    ),
    (case("typed", count=3, tags='["a"]', table=None), "[3, 0.5, False, 'fast', ['a'], None, None, None, 'red', 1]"),
    (case("any", first=1, x={"y": [1]}), "[1, None, {'x': {'y': [1]}}]"),
    (case("any", first="1", second=None), "['1', None, {}]"),
    (
        case("hinted", question="q", file={"file_id": "f"}, files=[{"file_id": "g", "path": "/x"}], criteria=["a"]),
        "q f None ['/x'] ['a']",
    ),
]

UNBOUND_ARGUMENTS = [
    (case("typed"), "task 'typed': bad args []: missing a required argument: 'count'"),
    (case("typed", ratio=1), "task 'typed': bad args ['ratio']: missing a required argument: 'count'"),
    (case("typed", count=1, a=2), "task 'typed': bad args ['a', 'count']: got an unexpected keyword argument 'a'"),
]

WRONG_ARGUMENTS = [
    (case("typed", count="zz"), "task 'typed': bad args ['count']: 'count' must be an integer, got 'zz'"),
    (
        case("typed", count=1, mode="medium"),
        "task 'typed': bad args ['count', 'mode']: 'mode' must be one of 'fast', 'slow', got 'medium'",
    ),
    (
        case("typed", count=1, point={"y": 1}),
        "task 'typed': bad args ['count', 'point']: 'point' must be a Point or null, got {'y': 1}",
    ),
]

ANSWERS: list[tuple[dict[str, Any], Any, str]] = [
    (case("judge", '{"final": 3}'), {"final": 3, "why": ""}, '{"final": 3}'),
    (case("judge", {"final": 3, "why": "w"}), {"final": 3, "why": "w"}, "{'final': 3, 'why': 'w'}"),
    (case("judge", "three"), "three", "three"),
    (case("judge", {"nope": 1}), {"nope": 1}, "{'nope': 1}"),
    (case("judge", None), None, "None"),
    (case("numbers", "[1, 2]"), [1, 2], "[1, 2]"),
    (case("numbers", [1, 2]), [1, 2], "[1, 2]"),
    (case("numbers", "x"), "x", "x"),
]

FAILURES: list[tuple[dict[str, Any], list[Any]]] = [
    (case("fail", where="start"), [-32000, "boom at start"]),
    (case("fail", where="grade"), [-32000, "'boom at grade'"]),
    (case("nope"), [-32602, "unknown task: 'nope'"]),
]

LONG = case("long", "y" * MEBIBYTE, size=MEBIBYTE)
ONE_YIELD = case("one_yield")
POSITIONAL = case("positional", count=3)
RIGHT, WRONG = case("add", "6", a=4), case("add", "7", a=4)

CASES = [
    *(case("ask", ANSWER, form=form) for form in PROMPTS),
    *(case("rate", form=form) for form in (*EVALUATIONS, *REFUSED_EVALUATIONS)),
    *(listed[0] for listed in (*ARGUMENTS, *UNBOUND_ARGUMENTS, *WRONG_ARGUMENTS, *ANSWERS, *FAILURES)),
    *(LONG, ONE_YIELD, POSITIONAL, RIGHT, WRONG),
]


class Driven:
    """What a client saw when it went through all cases on one connection."""

    def __init__(self, output: dict[str, Any]) -> None:
        self.manifest = output["manifest"]
        self.tasks = output["tasks"]
        self._outcomes = dict(zip(map(json.dumps, CASES), output["outcomes"], strict=True))

    def __getitem__(self, case: dict[str, Any]) -> dict[str, Any]:
        outcome: dict[str, Any] = self._outcomes[json.dumps(case)]
        return outcome


@pytest.fixture(scope="session")
def driven(pair: Pair) -> Driven:
    return Driven(pair.client.run("drive.py", pair.server.url, given=CASES))


def test_a_right_and_a_wrong_answer_score_one_and_zero(driven: Driven) -> None:
    assert driven[RIGHT] == {"started": {"prompt": "What is 4+2?"}, "evaluation": {"score": 1.0}}
    assert driven[WRONG] == {"started": {"prompt": "What is 4+2?"}, "evaluation": {"score": 0.0}}


@pytest.mark.parametrize(("form", "frame"), PROMPTS.items(), ids=PROMPTS)
def test_every_form_of_prompt_arrives_and_any_answer_goes_back_unchanged(driven: Driven, form: str, frame: Any) -> None:
    outcome = driven[case("ask", ANSWER, form=form)]
    assert outcome == {"started": frame, "evaluation": {"score": 1.0, "answer": ANSWER}}


def test_a_mebibyte_passes_in_each_direction(driven: Driven) -> None:
    outcome = driven[LONG]
    assert outcome["started"] == {"prompt": "x" * MEBIBYTE}
    assert outcome["evaluation"] == {"score": 1.0, "answered": MEBIBYTE, "content": "y" * MEBIBYTE}


@pytest.mark.parametrize(("form", "frame"), EVALUATIONS.items(), ids=EVALUATIONS)
def test_every_form_of_evaluation_has_one_frame(driven: Driven, form: str, frame: Any) -> None:
    assert driven[case("rate", form=form)]["evaluation"] == frame


@pytest.mark.parametrize(("form", "message"), REFUSED_EVALUATIONS.items(), ids=REFUSED_EVALUATIONS)
def test_what_is_no_evaluation_is_refused_in_the_same_words(driven: Driven, form: str, message: str) -> None:
    assert driven[case("rate", form=form)]["error"] == [-32000, message]


@pytest.mark.parametrize(("case", "shown"), ARGUMENTS, ids=unnamed)
def test_arguments_reach_the_template_in_their_types(driven: Driven, case: Any, shown: str) -> None:
    assert driven[case]["started"] == {"prompt": shown}


@pytest.mark.parametrize(("case", "message"), UNBOUND_ARGUMENTS, ids=unnamed)
def test_missing_and_unknown_arguments_are_refused_in_the_same_words(driven: Driven, case: Any, message: str) -> None:
    assert driven[case] == {"error": [-32000, message]}


@pytest.mark.parametrize(("case", "message"), WRONG_ARGUMENTS, ids=unnamed)
def test_arguments_of_a_wrong_type_are_refused_by_ours_and_passed_on_by_theirs(
    driven: Driven, pair: Pair, case: Any, message: str
) -> None:
    if pair.server.party.name == "ours":
        assert driven[case] == {"error": [-32000, message]}
    else:
        assert "error" not in driven[case] or driven[case]["error"][1] != message


@pytest.mark.parametrize(("case", "content", "raw"), ANSWERS, ids=unnamed)
def test_a_declared_answer_is_parsed_and_its_text_kept(driven: Driven, case: Any, content: Any, raw: str) -> None:
    evaluation = driven[case]["evaluation"]
    assert (evaluation["content"], evaluation["raw"]) == (content, raw)


@pytest.mark.parametrize(("case", "error"), FAILURES, ids=unnamed)
def test_what_a_template_raises_arrives_in_the_same_words(driven: Driven, case: Any, error: Any) -> None:
    assert driven[case]["error"] == error


def test_a_template_without_an_evaluation_is_an_error_on_ours_and_zero_on_theirs(driven: Driven, pair: Pair) -> None:
    outcome = driven[ONE_YIELD]
    if pair.server.party.name == "ours":
        message = "task 'one_yield' ended without an evaluation: yield a score after the prompt"
        assert outcome["error"] == [-32000, message]
    else:
        assert outcome["evaluation"] == {"score": 0.0}


def test_a_positional_only_argument_is_passed_by_ours_and_refused_by_theirs(driven: Driven, pair: Pair) -> None:
    outcome = driven[POSITIONAL]
    if pair.server.party.name == "ours":
        assert outcome["started"] == {"prompt": "3"}
    else:
        assert outcome["error"][0] == -32000


def test_the_manifest_says_who_serves_what(driven: Driven, daemon: int) -> None:
    assert driven.manifest == {
        "protocol_version": "hud/1.0",
        "name": "interop",
        "version": "1.2.3",
        "bindings": [
            {
                "name": "shell",
                "protocol": "ssh/2",
                "url": f"ssh://127.0.0.1:{daemon}",
                "params": {"user": "agent", "host_pubkey": "ssh-ed25519 AAAA", "shell": "bash"},
            },
            {
                "name": "tools",
                "protocol": "mcp/2025-11-25",
                "url": f"http://127.0.0.1:{daemon}/mcp?key=1",
                "params": {"transport": "streamable-http"},
            },
            {
                "name": "browser",
                "protocol": "cdp/1.3",
                "url": f"ws://127.0.0.1:{daemon}/devtools/browser/1",
                "params": {},
            },
            {
                "name": "desk",
                "protocol": "rfb/3.8",
                "url": f"rfb://127.0.0.1:{daemon}",
                "params": {"display": 2},
            },
            {
                "name": "robot",
                "protocol": "openpi/0",
                "url": f"ws://127.0.0.1:{daemon}",
                "params": {"contract": {"robot_type": "x", "control_rate": 10, "features": {}}},
            },
        ],
    }


def test_both_servers_list_the_same_tasks_with_the_same_schemas(ours: Party, servers: dict[str, Server]) -> None:
    """But for the words in the schema of `DataFileRef`, which are each implementation's own."""
    listings = [ours.run("drive.py", server.url, given=[])["tasks"] for server in servers.values()]
    for listing in listings:
        (hinted,) = (row for row in listing if row["id"] == "hinted")
        reference = hinted["args"]["$defs"].pop("DataFileRef")
        assert reference["required"] == ["file_id"]
        assert {name: field["title"] for name, field in reference["properties"].items()} == {
            "file_id": "File Id",
            "path": "Path",
        }
    assert listings[0] == listings[1]
