"""What an author's template may do to a server: exit, hang, block, swallow its cancellation, never end."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import time
from collections.abc import Callable

import pytest

from hud.environment import Environment, runner
from tests.hud.environment.channel import Channel, ServedProcess, error_of, request, until
from tests.hud.environment.probe import Steps

Spawn = Callable[..., ServedProcess]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a template's cleanup after a fifth of a second, which are five in earnest."""
    monkeypatch.setattr(runner, "CLEANUP_TIMEOUT_S", 0.2)


@pytest.mark.parametrize("phase", ["start", "grade", "cleanup"])
@pytest.mark.parametrize("leave", ["sys.exit(3)", "raise KeyboardInterrupt", "raise asyncio.CancelledError", "quit()"])
def test_a_template_that_leaves_takes_neither_the_server_nor_other_sessions_with_it(
    spawn: Spawn, phase: str, leave: str
) -> None:
    served = spawn(
        f"""
        import asyncio, sys
        env = Environment("leaves")

        @env.template()
        async def leaves():
            try:
                if {phase!r} == "start":
                    {leave}
                yield "go"
                if {phase!r} == "grade":
                    {leave}
                yield 1.0
            finally:
                if {phase!r} == "cleanup":
                    {leave}

        @env.template()
        async def fine():
            yield "fine"
            yield 1.0
        """
    )
    other, peer = served.connect(), served.connect()
    other.start("fine")
    reply = peer.call("tasks.start", {"id": "leaves"})
    if phase != "start":
        reply = peer.call("tasks.grade", {"answer": "x"})
    if phase == "cleanup":
        assert reply["result"] == {"score": 1.0}
    else:
        assert error_of(reply)[0] == -32000
    assert other.grade("x") == {"score": 1.0}
    assert peer.start("fine") == "fine"
    assert served.end(signal.SIGTERM) == 143


def test_a_crashing_template_stalls_no_other_session(channel: Channel) -> None:
    environment = channel.environment

    @environment.template()
    async def crashes() -> Steps:
        yield "go"
        raise RuntimeError("crash")

    peers = [channel.connect() for _ in range(20)]
    for peer in peers:
        peer.start("crashes")
    assert [peer.error("tasks.grade", {"answer": ""}) for peer in peers] == [(-32000, "crash")] * 20


@pytest.mark.parametrize("method", ["tasks.cancel", "bye"])
def test_a_cleanup_that_hangs_is_given_up_after_a_while(
    impatient: None, serve: Callable[..., Channel], method: str, caplog: pytest.LogCaptureFixture
) -> None:
    environment = Environment("hangs")

    @environment.template()
    async def hangs() -> Steps:
        try:
            yield "go"
        finally:
            await asyncio.sleep(60)

    peer = serve(environment).connect()
    peer.start("hangs")
    begun = time.monotonic()
    assert "result" in peer.call(method)
    assert 0.2 <= time.monotonic() - begun < 5
    assert "cleanup of task 'hangs' took more than 0.2 s and is abandoned" in caplog.text


def test_a_cleanup_that_hangs_delays_the_next_start_for_a_while_only(
    impatient: None, serve: Callable[..., Channel]
) -> None:
    environment = Environment("hangs")

    @environment.template()
    async def hangs() -> Steps:
        try:
            yield "go"
        finally:
            await asyncio.sleep(60)

    peer = serve(environment).connect()
    assert [peer.start("hangs") for _ in range(3)] == ["go"] * 3


@pytest.mark.parametrize("phase", ["start", "grade"])
def test_a_cancel_of_a_template_that_swallows_its_cancellation_is_answered(
    impatient: None, serve: Callable[..., Channel], phase: str
) -> None:
    environment = Environment("stubborn")

    async def stubbornly() -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(0.4)
            except asyncio.CancelledError:
                pass

    @environment.template()
    async def stubborn() -> Steps:
        if phase == "start":
            await stubbornly()
        yield "go"
        if phase == "grade":
            await stubbornly()
        yield 1.0

    @environment.template()
    async def fine(tag: str) -> Steps:
        yield tag
        yield {"score": 1.0, "tag": tag}

    peer = serve(environment).connect()
    if phase == "grade":
        peer.start("stubborn")
        peer.send(request("tasks.grade", {"answer": ""}, id="call"))
    else:
        peer.send(request("tasks.start", {"id": "stubborn"}, id="call"))
    time.sleep(0.05)
    peer.send(request("tasks.cancel", id="cancel"))
    frames = [peer.frame(), peer.frame()]
    assert [frame["id"] for frame in frames] == ["call", "cancel"]
    assert error_of(frames[0]) == (-32000, "tasks.cancel interrupted the task")
    # What the abandoned task yields later belongs to nobody: not to the next task of the session either.
    peer.start("fine", {"tag": "next"})
    time.sleep(0.7)
    assert peer.is_silent()
    assert peer.grade("x")["tag"] == "next"


def test_a_start_that_yields_in_spite_of_its_cancellation_leaves_nothing_to_grade(
    serve: Callable[..., Channel],
) -> None:
    environment = Environment("stubborn")
    closed: list[bool] = []

    @environment.template()
    async def stubborn() -> Steps:
        try:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
            yield "in spite of it"
            yield 1.0
        finally:
            closed.append(True)

    peer = serve(environment).connect()
    peer.send(request("tasks.start", {"id": "stubborn"}, id=1))
    time.sleep(0.05)
    peer.send(request("tasks.cancel", id=2))
    assert error_of(peer.frame()) == (-32000, "tasks.cancel interrupted the task")
    assert peer.frame()["result"] == {"cancelled": True}
    assert closed == [True]
    assert peer.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")


def test_a_generator_that_yields_while_it_is_closed_is_let_go(serve: Callable[..., Channel]) -> None:
    environment = Environment("yields")

    @environment.template()
    async def yields() -> Steps:
        try:
            yield "go"
            yield 1.0
        finally:
            yield "again"

    peer = serve(environment).connect()
    peer.start("yields")
    assert peer.grade("x") == {"score": 1.0}
    peer.start("yields")
    assert peer.result("tasks.cancel") == {"cancelled": True}


def test_a_timeout_around_the_prompt_ends_the_task_with_its_error(serve: Callable[..., Channel]) -> None:
    environment = Environment("limits")

    @environment.template()
    async def limited() -> Steps:
        async with asyncio.timeout(0.05):
            yield "quick!"
        yield 1.0

    peer = serve(environment).connect()
    peer.start("limited")
    assert peer.grade("in time") == {"score": 1.0}
    peer.start("limited")
    time.sleep(0.15)
    assert peer.error("tasks.grade", {"answer": "late"}) == (-32000, "TimeoutError")
    assert peer.error("tasks.grade", {"answer": "late"}) == (-32600, "no task in progress")


def test_an_evaluation_given_because_the_time_was_up_is_the_grade(serve: Callable[..., Channel]) -> None:
    environment = Environment("limits")
    closed: list[bool] = []

    @environment.template()
    async def limited() -> Steps:
        try:
            try:
                async with asyncio.timeout(0.05):
                    yield "quick!"
                yield 1.0
            except TimeoutError:
                yield {"score": 0.0, "content": "too late"}
        finally:
            closed.append(True)

    peer = serve(environment).connect()
    peer.start("limited")
    until(lambda: closed)
    assert peer.grade("late") == {"score": 0.0, "content": "too late"}
    assert peer.error("tasks.grade", {"answer": "late"}) == (-32600, "no task in progress")
    peer.start("limited")
    until(lambda: len(closed) == 2)
    assert peer.result("tasks.cancel") == {"cancelled": True}


def test_what_a_template_opens_before_its_prompt_is_open_in_the_same_task_after_it(
    serve: Callable[..., Channel],
) -> None:
    environment = Environment("spans")
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    @environment.template()
    async def spans() -> Steps:
        name.set("mine")
        async with asyncio.TaskGroup() as group:
            working = group.create_task(asyncio.sleep(0.01, "done"))
            before = asyncio.current_task()
            yield "go"
            same = asyncio.current_task() is before
        yield {"score": 1.0, "same": same, "work": working.result(), "name": name.get()}

    channel = serve(environment)
    peer = channel.connect()
    peer.start("spans")
    peer.close()
    channel.settled()
    frame = channel.connect().grade("x")
    assert (frame["same"], frame["work"], frame["name"]) == (True, "done", "mine")


def test_a_background_task_of_a_template_that_fails_fails_its_grade(serve: Callable[..., Channel]) -> None:
    environment = Environment("spans")

    @environment.template()
    async def spans() -> Steps:
        async def fail() -> None:
            raise ValueError("background")

        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            yield "go"
        yield 1.0

    peer = serve(environment).connect()
    peer.start("spans")
    time.sleep(0.05)
    code, message = peer.error("tasks.grade", {"answer": ""})
    assert (code, message) == (-32000, "unhandled errors in a TaskGroup (1 sub-exception)")


STUBBORN = {
    "blocks in start": "time.sleep(60); yield 'go'",
    "blocks in grade": "yield 'go'; time.sleep(60); yield 1.0",
    "swallows in start": "await swallow(); yield 'go'",
    "swallows in grade": "yield 'go'; await swallow(); yield 1.0",
    "hangs in its cleanup": """
    try:
        yield 'go'
    finally:
        await asyncio.sleep(60)
""",
    "waits for a thread": "yield 'go'; await asyncio.to_thread(time.sleep, 60); yield 1.0",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "number"),
    [(body, signal.SIGTERM) for body in STUBBORN.values()] + [(STUBBORN["swallows in grade"], signal.SIGINT)],
    ids=[*STUBBORN, "interrupt"],
)
def test_a_signal_ends_the_process_within_ten_seconds_whatever_a_template_does(
    spawn: Spawn, body: str, number: signal.Signals
) -> None:
    served = spawn(
        f"""
import asyncio, time
env = Environment("stubborn")

async def swallow():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

@env.template()
async def stubborn():
    {body}

@env.shutdown
async def down():
    print("down", flush=True)
"""
    )
    peer = served.connect()
    peer.send(request("tasks.start", {"id": "stubborn"}, id=1))
    if "yield 'go';" in body:
        peer.frame()
        peer.send(request("tasks.grade", {"answer": ""}, id=2))
    time.sleep(0.2)
    begun = time.monotonic()
    assert served.end(number) == (143 if number == signal.SIGTERM else 0)
    assert time.monotonic() - begun <= 10
    if "time.sleep(60); y" not in body:  # a blocked loop runs nothing any more
        assert "down" in served.stderr()


@pytest.mark.slow
def test_a_shutdown_hook_that_hangs_is_cut_off(spawn: Spawn) -> None:
    served = spawn(
        """
        import asyncio
        env = Environment("hangs")

        @env.shutdown
        async def never():
            print("never", flush=True)

        @env.shutdown
        async def down():
            await asyncio.sleep(60)
        """
    )
    served.connect()
    begun = time.monotonic()
    assert served.end(signal.SIGTERM) == 143
    assert 5 < time.monotonic() - begun <= 10


def test_a_template_that_never_yields_is_cancelled_with_its_session(channel: Channel) -> None:
    environment = channel.environment
    closed: list[bool] = []

    @environment.template()
    async def never() -> Steps:
        try:
            await asyncio.sleep(60)
            yield "never"
        finally:
            closed.append(True)

    peer = channel.connect()
    peer.send(request("tasks.start", {"id": "never"}, id=1))
    peer.send(request("bye", id=2))
    assert [error_of(peer.frame())[1], peer.frame()["result"]] == ["bye interrupted the task", {"goodbye": True}]
    assert closed == [True]
