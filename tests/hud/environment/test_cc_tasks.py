"""`tasks.start` and `tasks.grade`: rules CC-20 to CC-32 of the control-channel specification."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from hud.environment import Answer, Environment
from hud.graders import EvaluationResult, SubScore
from tests.hud.environment.channel import Channel, Peer
from tests.hud.environment.probe import Probe, Steps


@pytest.fixture
def yields(serve: Callable[..., Channel]) -> Callable[..., Peer]:
    """Serve one template, `it`, that yields these two things; give a connection to it."""

    def connect(prompt: Any, evaluation: Any = 1.0) -> Peer:
        environment = Environment("yields")

        @environment.template()
        async def it() -> Steps:
            yield prompt
            yield evaluation

        return serve(environment).connect()

    return connect


@dataclass
class Turn:
    role: str
    content: str


@pytest.mark.parametrize(
    ("prompt", "frame"),
    [
        ("text", {"prompt": "text"}),
        ("", {"prompt": ""}),
        (None, {"prompt": None}),
        (7, {"prompt": 7}),
        ([{"role": "user", "content": "hi"}], {"prompt": [{"role": "user", "content": "hi"}]}),
        ([Turn("user", "hi")], {"prompt": [{"role": "user", "content": "hi"}]}),
        (("a", ("b",)), {"prompt": ["a", ["b"]]}),
        ({"text": "x"}, {"prompt": {"text": "x"}}),
        ({"prompt": "p", "bindings": {"robot": {"token": "slot-0"}}, "extra": 7}, ...),
        ({"prompt": None}, ...),
        ({"prompt": "p", "bindings": None}, ...),
        ({"prompt": {"prompt": 1}}, ...),
    ],
    ids=repr,
)
def test_cc_20_start_gives_an_object_with_the_prompt(yields: Callable[..., Peer], prompt: Any, frame: Any) -> None:
    result = yields(prompt).result("tasks.start", {"id": "it"})
    assert result == (prompt if frame is ... else frame)


@pytest.mark.parametrize("bindings", ["robot", ["robot"], {"robot": "slot"}, 7], ids=repr)
def test_cc_20_bindings_that_map_no_names_to_objects_are_refused(yields: Callable[..., Peer], bindings: Any) -> None:
    peer = yields({"prompt": "p", "bindings": bindings})
    code, message = peer.error("tasks.start", {"id": "it"})
    assert (code, message) == (-32000, "task 'it' yielded bindings that do not map capability names to objects")


def test_cc_20_a_prompt_without_json_form_is_refused_and_leaves_nothing_to_grade(yields: Callable[..., Peer]) -> None:
    peer = yields({"prompt": Opaque()})
    assert peer.error("tasks.start", {"id": "it"}) == (-32000, "Object of type Opaque is not JSON serializable")
    assert peer.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")


def test_cc_21_an_unknown_task_leaves_the_running_one_intact(peer: Peer, probe: Probe) -> None:
    peer.start("tagged", {"tag": "kept"})
    assert peer.error("tasks.start", {"id": "missing"}) == (-32602, "unknown task: 'missing'")
    assert peer.error("tasks.start", {"id": "it's"}) == (-32602, 'unknown task: "it\'s"')
    assert peer.grade(1)["tag"] == "kept"


@pytest.mark.parametrize("params", [{}, {"id": None}, {"id": 7}, {"id": ["add"]}, None], ids=repr)
def test_cc_21_a_task_id_that_is_no_string_is_refused(peer: Peer, params: Any) -> None:
    assert peer.error("tasks.start", params) == (-32602, "tasks.start: 'id' must be a string")


@pytest.mark.parametrize("args", [[], [1], 0, False, "", "x", 7], ids=repr)
def test_cc_21_arguments_that_are_no_object_are_refused_before_the_id_is_looked_up(peer: Peer, args: Any) -> None:
    params = {"id": "missing", "args": args}
    assert peer.error("tasks.start", params) == (-32602, "tasks.start: 'args' must be an object")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "task 'add': bad args []: missing a required argument: 'a'"),
        ({"b": 1}, "task 'add': bad args ['b']: missing a required argument: 'a'"),
        ({"c": 2, "a": 1}, "task 'add': bad args ['a', 'c']: got an unexpected keyword argument 'c'"),
    ],
)
def test_cc_22_arguments_that_do_not_bind_are_refused_by_name(peer: Peer, args: Any, message: str) -> None:
    assert peer.error("tasks.start", {"id": "add", "args": args}) == (-32000, message)


def test_cc_22_bad_arguments_run_no_template_code_and_keep_the_running_task(peer: Peer, probe: Probe) -> None:
    """The specification notes that the public server loses the previous task here; ours does not."""
    peer.start("tagged", {"tag": "kept"})
    peer.error("tasks.start", {"id": "tagged", "args": {"tag": "new", "unknown": 1}})
    assert probe.journal == ["started kept"]
    assert peer.grade(1)["tag"] == "kept"


@pytest.mark.parametrize("args", [{"a": "4"}, {"a": 4.0}, {"a": " 4 "}, {"a": "4", "b": "2"}], ids=repr)
def test_cc_23_arguments_are_coerced_leniently(peer: Peer, args: Any) -> None:
    assert peer.start("add", args) == "What is 4+2?"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"a": "zz"}, "task 'add': bad args ['a']: 'a' must be an integer, got 'zz'"),
        ({"a": 1.5}, "task 'add': bad args ['a']: 'a' must be an integer, got 1.5"),
        ({"a": None}, "task 'add': bad args ['a']: 'a' must be an integer, got None"),
        ({"a": 1, "b": []}, "task 'add': bad args ['a', 'b']: 'b' must be an integer, got []"),
    ],
)
def test_cc_23_arguments_that_do_not_fit_are_refused_by_name(peer: Peer, args: Any, message: str) -> None:
    """Deliberately stricter than the rule, which passes a value that cannot be coerced on to the template."""
    assert peer.error("tasks.start", {"id": "add", "args": args}) == (-32000, message)


def test_cc_24_a_new_start_first_closes_the_previous_task(peer: Peer, probe: Probe) -> None:
    peer.start("tagged", {"tag": "one", "cleanup_s": 0.05})
    peer.start("tagged", {"tag": "two"})
    assert probe.journal == ["started one", "closed one", "started two"]


class Silent(Exception):
    """An exception without a text."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("boom at start"), "boom at start"),
        (KeyError("k"), "'k'"),
        (Silent(), "Silent"),
        (AssertionError(), "AssertionError"),
        (SystemExit(3), "the template called sys.exit(3)"),
        (SystemExit(), "the template called sys.exit()"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "the template cancelled itself"),
        (GeneratorExit(), "GeneratorExit"),
        (RecursionError("too deep"), "too deep"),
        (ValueError("\u00e9\u2028\x00"), "\u00e9\u2028\x00"),
        (BaseException("odd"), "odd"),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("phase", ["start", "grade"])
def test_cc_25_an_exception_of_the_template_is_an_error_reply(
    serve: Callable[..., Channel], phase: str, error: BaseException, message: str
) -> None:
    environment = Environment("raises")

    @environment.template()
    async def raises() -> Steps:
        if phase == "start":
            raise error
        yield "go"
        raise error

    peer = serve(environment).connect()
    if phase == "start":
        assert peer.error("tasks.start", {"id": "raises"}) == (-32000, message)
    else:
        peer.start("raises")
        assert peer.error("tasks.grade", {"answer": ""}) == (-32000, message)
    assert peer.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")


def test_cc_25_a_template_that_ends_without_a_prompt_is_an_error(serve: Callable[..., Channel]) -> None:
    environment = Environment("ends")

    @environment.template()
    async def ends(go_on: bool = False) -> Steps:
        if go_on:
            yield "never"

    code, message = serve(environment).connect().error("tasks.start", {"id": "ends"})
    assert (code, message) == (-32000, "the template ended without yielding a prompt")


@pytest.mark.parametrize("answer", ["6", "", "6 ", 5, 1.5, True, None, [1, {"a": None}], {"answer": "x"}], ids=repr)
def test_cc_26_an_answer_reaches_an_untyped_template_unchanged(peer: Peer, answer: Any) -> None:
    peer.start("echo")
    result = peer.grade(answer)
    assert (result["answer"], result["kind"]) == (answer, type(answer).__name__)


def test_cc_26_a_missing_answer_is_none(peer: Peer) -> None:
    peer.start("echo")
    assert peer.result("tasks.grade", {"other": 1})["kind"] == "NoneType"


@pytest.mark.parametrize(
    ("answer", "content", "raw"),
    [
        ('{"final": 2}', {"final": 2}, '{"final": 2}'),
        ({"final": 3}, {"final": 3}, "{'final': 3}"),
        ('{"final": "4"}', {"final": 4}, '{"final": "4"}'),
        ("no json", "no json", "no json"),
        ('{"other": 1}', '{"other": 1}', '{"other": 1}'),
        ([1], [1], "[1]"),
        (None, None, "None"),
    ],
    ids=repr,
)
def test_cc_26_a_typed_template_gets_parsed_content_and_the_raw_text(
    serve: Callable[..., Channel], answer: Any, content: Any, raw: str
) -> None:
    @dataclass
    class Final:
        final: int

    environment = Environment("typed")

    @environment.template(returns=Final)
    async def typed() -> Steps:
        received: Answer[Any] = yield "go"
        typed_content = received.content
        yield {
            "score": 1,
            "typed": isinstance(typed_content, Final),
            "content": typed_content,
            "raw": received.raw,
        }

    peer = serve(environment).connect()
    peer.start("typed")
    result = peer.grade(answer)
    assert (result["content"], result["raw"]) == (content, raw)
    assert result["typed"] == (isinstance(content, dict))
    peer.start("typed")
    missing = peer.result("tasks.grade", {})
    assert (missing["content"], missing["raw"]) == ("", "")


class Reward:
    def __init__(self, reward: Any) -> None:
        self.reward = reward

    def __repr__(self) -> str:
        return f"Reward({self.reward!r})"


class Opaque:
    """Has no JSON form."""

    def __repr__(self) -> str:
        return "Opaque()"


class ArrayScalar:
    """Stands for NumPy's and torch's scalars: a number to `float()`, but no Python number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"ArrayScalar({self.value})"

    def __float__(self) -> float:
        return self.value

    def tolist(self) -> float:
        return self.value


EVALUATIONS: list[tuple[Any, dict[str, Any]]] = [
    (1, {"score": 1.0}),
    (0.25, {"score": 0.25}),
    (True, {"score": 1.0}),
    (False, {"score": 0.0}),
    (-3, {"score": -3.0}),
    (2.5, {"score": 2.5}),
    (Decimal("0.5"), {"score": 0.5}),
    (ArrayScalar(0.5), {"score": 0.5}),
    (Reward(0.75), {"score": 0.75}),
    (Reward(True), {"score": 1.0}),
    (Reward(ArrayScalar(0.5)), {"score": 0.5}),
    ({"score": 1, "info": {"k": (1, 2)}, "zzz": "extra"}, {"score": 1, "info": {"k": [1, 2]}, "zzz": "extra"}),
    ({"score": True}, {"score": 1.0}),
    ({"score": ArrayScalar(0.5)}, {"score": 0.5}),
    ({"score": 0.5, "turn": Turn("user", "x")}, {"score": 0.5, "turn": {"role": "user", "content": "x"}}),
    (
        {"score": 1.0, "info": {"a": float("nan"), "b": [float("inf"), -float("inf")]}},
        {"score": 1.0, "info": {"a": None, "b": [None, None]}},
    ),
    (
        EvaluationResult(reward=0.75, content="nice", info={"a": 1}, subscores=[SubScore(name="j", value=0.75)]),
        {
            "done": True,
            "content": "nice",
            "info": {"a": 1},
            "isError": False,
            "subscores": [{"name": "j", "weight": 1.0, "value": 0.75, "children": None, "info": None}],
            "score": 0.75,
        },
    ),
    (
        EvaluationResult(reward=True, info={"a": float("nan")}, more=[1]),
        {
            "done": True,
            "content": None,
            "info": {"a": None},
            "isError": False,
            "subscores": None,
            "more": [1],
            "score": 1.0,
        },
    ),
]


@pytest.mark.parametrize(("evaluation", "frame"), EVALUATIONS, ids=[repr(case[0])[:60] for case in EVALUATIONS])
def test_cc_28_evaluations_are_normalised(yields: Callable[..., Peer], evaluation: Any, frame: Any) -> None:
    peer = yields("go", evaluation)
    peer.start("it")
    assert peer.grade("x") == frame


@pytest.mark.parametrize("evaluation", [case[0] for case in EVALUATIONS], ids=lambda value: repr(value)[:60])
def test_cc_27_the_score_is_a_json_number_and_no_boolean(yields: Callable[..., Peer], evaluation: Any) -> None:
    peer = yields("go", evaluation)
    peer.start("it")
    assert type(peer.grade("x")["score"]) in (int, float)


ACCEPTED = "yield a number, an object with a numeric .reward, or a dict containing a numeric 'score'"


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        (None, "task graded with NoneType: " + ACCEPTED),
        ("1.0", "task graded with str: " + ACCEPTED),
        ([1.0], "task graded with list: " + ACCEPTED),
        (Reward("1"), "task graded with Reward: " + ACCEPTED),
        ({"reward": 1, "b": 2}, "task 'it' graded with a dict missing a numeric 'score' (keys: ['reward', 'b'])"),
        ({"score": "1"}, "task 'it' graded with a dict missing a numeric 'score' (keys: ['score'])"),
        ({"score": None}, "task 'it' graded with a dict missing a numeric 'score' (keys: ['score'])"),
        (float("nan"), "task 'it' graded with a non-finite score (nan): yield a finite number"),
        (float("inf"), "task 'it' graded with a non-finite score (inf): yield a finite number"),
        (10**400, "task 'it' graded with a non-finite score (inf): yield a finite number"),
        (-(10**400), "task 'it' graded with a non-finite score (-inf): yield a finite number"),
        ({"score": -float("inf")}, "task 'it' graded with a non-finite score (-inf): yield a finite number"),
        ({"score": 10**400}, "task 'it' graded with a non-finite score (inf): yield a finite number"),
        (Reward(float("nan")), "task 'it' graded with a non-finite score (nan): yield a finite number"),
        (Reward(10**400), "task 'it' graded with a non-finite score (inf): yield a finite number"),
        (Decimal("NaN"), "task 'it' graded with a non-finite score (nan): yield a finite number"),
        ({"score": 1, "info": Opaque()}, "Object of type Opaque is not JSON serializable"),
        ({"score": 1, "info": {1, 2}}, "Object of type set is not JSON serializable"),
    ],
    ids=lambda value: repr(value)[:50] if not isinstance(value, str) else "",
)
def test_cc_28_what_is_no_evaluation_is_an_error(yields: Callable[..., Peer], evaluation: Any, message: str) -> None:
    peer = yields("go", evaluation)
    peer.start("it")
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32000, message)


def test_cc_28_an_evaluation_that_contains_itself_is_an_error(yields: Callable[..., Peer]) -> None:
    endless: dict[str, Any] = {"score": 1}
    endless["again"] = endless
    peer = yields("go", endless)
    peer.start("it")
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32000, "Circular reference detected")


def test_cc_28_a_reward_that_turned_non_finite_is_an_error(yields: Callable[..., Peer]) -> None:
    result = EvaluationResult(reward=0.5)
    result.reward = float("nan")
    peer = yields("go", result)
    peer.start("it")
    code, message = peer.error("tasks.grade", {"answer": "x"})
    assert (code, message) == (-32000, "task 'it' graded with a non-finite score (nan): yield a finite number")


def test_cc_28_a_third_yield_is_never_reached(serve: Callable[..., Channel]) -> None:
    environment = Environment("three")
    reached: list[str] = []

    @environment.template()
    async def three() -> Steps:
        yield "go"
        yield 1.0
        reached.append("third")
        yield 0.0

    peer = serve(environment).connect()
    peer.start("three")
    assert peer.grade("x") == {"score": 1.0}
    assert reached == []


def test_cc_29_a_missing_second_yield_is_an_error(serve: Callable[..., Channel]) -> None:
    """Deliberately stricter than the rule, which grades such a template 0.0."""
    environment = Environment("once")

    @environment.template()
    async def once() -> Steps:
        yield "go"

    peer = serve(environment).connect()
    peer.start("once")
    code, message = peer.error("tasks.grade", {"answer": "x"})
    assert (code, message) == (-32000, "task 'once' ended without an evaluation: yield a score after the prompt")
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32600, "no task in progress")


@pytest.mark.parametrize("ending", ["success", "failure"])
def test_cc_30_a_grade_consumes_the_task_after_its_cleanup(serve: Callable[..., Channel], ending: str) -> None:
    environment = Environment("cleans")
    journal: list[str] = []

    @environment.template()
    async def cleans() -> Steps:
        try:
            yield "go"
            yield 1.0 if ending == "success" else "no score"
        finally:
            await asyncio.sleep(0.05)
            journal.append("closed")

    peer = serve(environment).connect()
    peer.start("cleans")
    peer.call("tasks.grade", {"answer": "x"})
    assert journal == ["closed"]
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32600, "no task in progress")


@pytest.mark.parametrize(
    "error", [ValueError("late"), asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt()], ids=repr
)
def test_cc_30_an_exception_of_the_cleanup_does_not_take_the_grade(
    serve: Callable[..., Channel], error: BaseException
) -> None:
    environment = Environment("late")

    @environment.template()
    async def late() -> Steps:
        try:
            yield "go"
            yield 1.0
        finally:
            raise error

    peer = serve(environment).connect()
    peer.start("late")
    assert peer.grade("x") == {"score": 1.0}
    assert peer.start("late") == "go"


def test_cc_31_nothing_to_grade_is_exactly_no_task_in_progress(peer: Peer) -> None:
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32600, "no task in progress")
    peer.start("add", {"a": 1})
    peer.grade("3")
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32600, "no task in progress")


def test_cc_32_several_parked_sessions_are_another_message(channel: Channel, peer: Peer) -> None:
    ids = []
    for tag in "ab":
        parked = channel.connect()
        ids.append(parked.session_id())
        parked.start("tagged", {"tag": tag})
        parked.close()
    channel.settled()
    code, message = peer.error("tasks.grade", {"answer": "x"})
    shown = ", ".join(sorted(ids))
    assert code == -32600
    assert message == f"2 parked sessions ({shown}); resume one by sending hello with its session_id"


def test_cc_32_the_message_stays_short_however_many_are_parked(channel: Channel, peer: Peer) -> None:
    for number in range(60):
        parked = channel.connect()
        parked.start("tagged", {"tag": str(number)})
        parked.close()
    channel.settled()
    code, message = peer.error("tasks.grade", {"answer": "x"})
    assert (code, message[:20]) == (-32600, "60 parked sessions (")
    assert len(message) < 1000
