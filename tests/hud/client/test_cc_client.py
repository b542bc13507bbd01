"""The driving side: rules CC-51 to CC-57 of the control-channel specification, for both clients."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hud.client.blocking import Connection, parse_url
from hud.client.client import Client, connect
from hud.errors import (
    DeadlineError,
    HudError,
    HudProtocolError,
    NotAuthorisedError,
    NotFoundError,
    UnreachableError,
    UsageError,
)
from tests.hud.client.scripted import HELLO, Answer, Scripted, hello_reply, reply, talk

Script = Callable[[Answer], Scripted]


def answering(**results: Any) -> Answer:
    """Answer hello properly and other methods (dots as underscores) with these results."""

    def answer(frame: dict[str, Any]) -> bytes:
        if frame["method"] == "hello":
            return hello_reply(frame)
        return reply(frame, results[frame["method"].replace(".", "_")])

    return answer


def raw(method: str, data: Callable[[dict[str, Any]], bytes | None]) -> Answer:
    """Answer one method with these bytes, hello properly, and everything else with an empty result."""

    def answer(frame: dict[str, Any]) -> bytes | None:
        if frame["method"] == method:
            return data(frame)
        return hello_reply(frame) if frame["method"] == "hello" else reply(frame, {})

    return answer


def test_cc_51_requests_have_integer_ids_from_1_and_object_params(script: Script, kind: str) -> None:
    peer = script(answering(tasks_list={"tasks": []}, tasks_cancel={"cancelled": True}))
    talk(kind, peer.url, ("tasks.list", {}), ("tasks.cancel", {}), ("tasks.list", {}))
    (frames,) = peer.frames
    assert [frame["id"] for frame in frames] == [1, 2, 3, 4]
    assert all(frame["jsonrpc"] == "2.0" and frame["params"] == {} for frame in frames)
    assert [frame["method"] for frame in frames] == ["hello", "tasks.list", "tasks.cancel", "tasks.list"]


async def test_cc_51_a_call_waits_for_the_reply_to_the_one_before(script: Script) -> None:
    running: list[str] = []
    together: list[tuple[str, ...]] = []
    release = threading.Event()

    def answer(frame: dict[str, Any]) -> bytes:
        if frame["method"] == "hello":
            return hello_reply(frame)
        running.append(frame["method"])
        together.append(tuple(running))
        release.wait(0.05)
        running.remove(frame["method"])
        return reply(frame, {"prompt": "go", "tasks": [], "score": 1})

    peer = script(answer)
    sent_while_waiting: list[int] = []
    async with connect(peer.url, ready_timeout=10) as client:
        calls = [asyncio.create_task(client.start_task("a")), asyncio.create_task(client.list_tasks())]
        calls.append(asyncio.create_task(client.hello()))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        sent_while_waiting.append(len(peer.frames[0]))
        await asyncio.gather(*calls)
    assert sent_while_waiting == [2]  # hello, and the first call alone
    assert [frame["method"] for frame in peer.frames[0]] == ["hello", "tasks.start", "tasks.list", "hello"]


async def test_cc_51_a_cancel_does_not_wait(script: Script) -> None:
    held: list[dict[str, Any]] = []

    def answer(frame: dict[str, Any]) -> bytes:
        if frame["method"] == "hello":
            return hello_reply(frame)
        if frame["method"] == "tasks.start":
            held.append(frame)
            return b""
        error = {"jsonrpc": "2.0", "id": held[0]["id"], "error": {"code": -32000, "message": "interrupted"}}
        return json.dumps(error).encode() + b"\n" + reply(frame, {"cancelled": True})

    peer = script(answer)
    async with connect(peer.url, ready_timeout=10) as client:
        starting = asyncio.create_task(client.start_task("a"))
        await asyncio.sleep(0.05)
        assert held
        await client.cancel()
        with pytest.raises(HudProtocolError, match="interrupted"):
            await starting


async def test_cc_51_after_a_call_was_given_up_the_next_waits_for_its_reply(script: Script) -> None:
    arrived, release = threading.Event(), threading.Event()

    def answer(frame: dict[str, Any]) -> bytes:
        if frame["method"] == "tasks.start":
            arrived.set()
            release.wait(10)
            return reply(frame, {"prompt": "late"})
        return hello_reply(frame) if frame["method"] == "hello" else reply(frame, {"tasks": [{"id": "a"}]})

    peer = script(answer)
    async with connect(peer.url, ready_timeout=10) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.start_task("a")
        listing = asyncio.create_task(client.list_tasks())
        await asyncio.sleep(0.05)
        assert arrived.is_set()
        assert [frame["method"] for frame in peer.frames[0]] == ["hello", "tasks.start"]
        release.set()
        assert await listing == [{"id": "a"}]


async def test_cc_52_start_sends_id_and_args_and_grade_sends_the_answer(script: Script) -> None:
    peer = script(answering(tasks_start={"prompt": "go"}, tasks_grade={"score": 1.0}))
    async with connect(peer.url, ready_timeout=10) as client:
        await client.start_task("plain")
        await client.start_task("with", {"a": [1, None], "é": True})
        for payload in ("6", None, {"answer": "6"}, {"other": 1}, ["x"]):
            await client.grade(payload)
    params = [frame["params"] for frame in peer.frames[0][1:]]
    assert params == [
        {"id": "plain", "args": {}},
        {"id": "with", "args": {"a": [1, None], "é": True}},
        {"answer": "6"},
        {"answer": None},
        {"answer": "6"},
        {"answer": {"other": 1}},
        {"answer": ["x"]},
    ]


def late(answer: Answer, port: int, after_s: float) -> threading.Thread:
    """Begin to listen on a port only after a while."""

    def listen() -> None:
        time.sleep(after_s)
        with socket.create_server(("127.0.0.1", port)) as listener:
            stream, _ = listener.accept()
            with stream, stream.makefile("rb") as lines:
                for line in lines:
                    stream.sendall(answer(json.loads(line)) or b"")

    thread = threading.Thread(target=listen)
    thread.start()
    return thread


def test_cc_53_a_refused_connection_is_tried_again(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    thread = late(answering(tasks_list={"tasks": []}), port, 0.2)
    assert talk(kind, f"tcp://127.0.0.1:{port}", ("tasks.list", {})) == [{"tasks": []}]
    thread.join()


def test_cc_53_a_peer_that_hangs_up_before_hello_is_answered_is_tried_again(script: Script, kind: str) -> None:
    attempts: list[int] = []

    def answer(frame: dict[str, Any]) -> bytes | None:
        attempts.append(1)
        if len(attempts) < 4:
            return None
        return hello_reply(frame) if frame["method"] == "hello" else reply(frame, {"tasks": []})

    peer = script(answer)
    assert talk(kind, peer.url, ("tasks.list", {})) == [{"tasks": []}]
    assert [len(frames) for frames in peer.frames] == [1, 1, 1, 2]


@pytest.mark.parametrize("behaviour", ["refuses", "hangs up", "says nothing"])
def test_cc_53_at_the_deadline_the_error_names_it_and_what_was_seen(script: Script, kind: str, behaviour: str) -> None:
    peer = script(lambda _frame: None if behaviour == "hangs up" else b"")
    url = peer.url
    if behaviour == "refuses":
        peer.close()
    begun = time.monotonic()
    with pytest.raises(DeadlineError) as refusal:
        talk(kind, url, timeout_s=0.4)
    assert 0.2 <= time.monotonic() - begun < 3
    seen = {
        "refuses": "Connection refused",
        "hangs up": "it hangs up",
        "says nothing": "it accepts, but does not answer hello",
    }
    assert refusal.value.message == f"no environment answers at {url} within 0.4 s: {seen[behaviour]}"
    assert refusal.value.exit_code == 3


def test_cc_53_an_error_reply_to_hello_is_final(script: Script, kind: str) -> None:
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}\n'
    peer = script(lambda _frame: error)
    with pytest.raises(HudProtocolError) as refusal:
        talk(kind, peer.url)
    assert (refusal.value.code, refusal.value.message) == (-32000, "no")
    assert len(peer.frames) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"null\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"[" * 99999 + b"\n",
    ],
    ids=["http", "blank", "array", "encoding", "null", "ssh", "deep"],
)
def test_cc_53_a_peer_that_speaks_something_else_is_an_error_at_once(script: Script, kind: str, garbage: bytes) -> None:
    peer = script(lambda _frame: garbage)
    with pytest.raises(HudProtocolError, match="the peer does not speak the protocol"):
        talk(kind, peer.url)
    assert len(peer.frames) == 1


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "a..b"])
def test_cc_53_a_name_without_an_address_is_an_error_at_once(kind: str, host: str) -> None:
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match=f"{host} has no address"):
        talk(kind, f"tcp://{host}:8765", timeout_s=30)
    assert time.monotonic() - begun < 20


def test_cc_53_a_wrong_token_is_an_error_of_its_own(script: Script, kind: str) -> None:
    peer = script(lambda _frame: b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no token"}}\n')
    with pytest.raises(NotAuthorisedError) as refusal:
        talk(kind, peer.url)
    assert refusal.value.hint == "set HUD_CHANNEL_TOKEN to the token it was served with"
    assert refusal.value.exit_code == 4


def test_cc_54_an_error_without_an_id_is_that_error_and_ends_the_connection(script: Script, kind: str) -> None:
    error = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"frame too large"}}\n'
    peer = script(raw("tasks.list", lambda _frame: error))
    first, second = talk(kind, peer.url, ("tasks.list", {}), ("tasks.list", {}))
    assert isinstance(first, HudProtocolError)
    assert (first.code, first.message) == (-32000, "frame too large")
    assert isinstance(second, UnreachableError | EOFError | OSError)
    assert len(peer.frames[0]) == 2


MISMATCHES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "another id": lambda frame: reply(frame | {"id": 99}, {}),
    "the id before": lambda frame: reply(frame | {"id": frame["id"] - 1}, {}),
    "text": lambda frame: reply(frame | {"id": str(frame["id"])}, {}),
    "a float": lambda frame: reply(frame | {"id": float(frame["id"])}, {}),
    "null": lambda frame: reply(frame | {"id": None}, {}),
    "none": lambda _frame: b'{"jsonrpc":"2.0","result":{}}\n',
    "an error with another id": lambda _frame: b'{"id":99,"error":{"code":-32000,"message":"no"}}\n',
    "a list": lambda frame: reply(frame | {"id": [frame["id"]]}, {}),
    "a request": lambda _frame: b'{"jsonrpc":"2.0","id":7,"method":"log","params":{}}\n',
    "a notification": lambda _frame: b'{"jsonrpc":"2.0","method":"log","params":{}}\n',
}


@pytest.mark.parametrize("data", MISMATCHES.values(), ids=MISMATCHES.keys())
def test_cc_54_a_reply_to_something_else_breaks_the_connection(
    script: Script, kind: str, data: Callable[[dict[str, Any]], bytes]
) -> None:
    peer = script(raw("tasks.list", data))
    first, second = talk(kind, peer.url, ("tasks.list", {}), ("tasks.list", {}))
    assert isinstance(first, HudProtocolError)
    assert (first.code, first.message) == (-32603, "'tasks.list': reply id did not match request")
    assert isinstance(second, UnreachableError | EOFError | OSError)
    assert len(peer.frames[0]) == 2


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ('"result":[]', -32603, "'tasks.list': result was not an object"),
        ('"result":null', -32603, "'tasks.list': result was not an object"),
        ('"result":"x"', -32603, "'tasks.list': result was not an object"),
        ('"nothing":1', -32603, "'tasks.list': result was not an object"),
        ('"error":{}', -32000, ""),
        ('"error":{"code":-32600}', -32600, ""),
        ('"error":{"message":"m"}', -32000, "m"),
        ('"error":{"code":5,"message":"m","data":{}},"result":{}', 5, "m"),
    ],
)
def test_cc_54_a_reply_without_a_proper_result_is_an_error(
    script: Script, kind: str, body: str, code: int, message: str
) -> None:
    peer = script(raw("tasks.list", lambda frame: f'{{"id":{frame["id"]},{body}}}\n'.encode()))
    first, second = talk(kind, peer.url, ("tasks.list", {}), ("tasks.cancel", {}))
    assert isinstance(first, HudProtocolError)
    assert (first.code, first.message) == (code, message)
    assert second == {}


def test_cc_54_a_reply_beyond_the_limit_is_an_error(script: Script, kind: str) -> None:
    peer = script(raw("tasks.list", lambda _frame: b"x" * (16_777_216 + 1)))
    (outcome,) = talk(kind, peer.url, ("tasks.list", {}))
    assert isinstance(outcome, HudProtocolError)
    assert outcome.message == "the peer sent a frame of more than 16777216 bytes"


def test_cc_54_a_reply_of_the_full_size_is_read(script: Script, kind: str) -> None:
    def full(frame: dict[str, Any]) -> bytes:
        shell = reply(frame, {"tasks": []})[:-2]
        return shell + b" " * (16_777_216 - len(shell) - 1) + b"}\n"

    begun = time.monotonic()
    assert talk(kind, script(raw("tasks.list", full)).url, ("tasks.list", {})) == [{"tasks": []}]
    assert time.monotonic() - begun < 5


def test_cc_54_a_reply_may_arrive_byte_by_byte(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def dribble() -> None:
            stream, _ = listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with stream, stream.makefile("rb") as lines:
                for line in lines:
                    for byte in hello_reply(json.loads(line)):
                        stream.sendall(bytes([byte]))

        thread = threading.Thread(target=dribble)
        thread.start()
        (outcome,) = talk(kind, f"tcp://127.0.0.1:{listener.getsockname()[1]}", ("hello", {}))
        assert outcome == HELLO
        thread.join()


async def test_cc_54_a_frame_nobody_asked_for_ends_the_connection(script: Script) -> None:
    peer = script(lambda frame: hello_reply(frame) + b'{"jsonrpc":"2.0","method":"log"}\n')
    async with connect(peer.url, ready_timeout=10) as client:
        await asyncio.sleep(0.05)
        with pytest.raises(UnreachableError, match="the peer sent a frame that answers nothing"):
            await client.list_tasks()


def test_cc_55_unknown_keys_and_odd_bindings_are_accepted(script: Script, kind: str) -> None:
    bindings = [
        {"name": "a", "protocol": "ssh/2", "url": "ssh://h:22", "params": {"user": "u"}, "extra": 1},
        {"name": "b", "protocol": "future/9", "url": "future://h:1"},
        {"name": "c", "protocol": "mcp/2025-11-25", "url": "ws://h:1", "params": None},
    ]
    peer = script(
        lambda frame: hello_reply(frame, bindings=bindings, more={"x": 1}, env={"name": "n", "version": "v", "k": 1})
    )
    (outcome,) = talk(kind, peer.url, ("hello", {}))
    assert isinstance(outcome, dict)
    assert outcome["more"] == {"x": 1}


async def test_cc_55_the_manifest_holds_what_hello_gave(script: Script) -> None:
    bindings = [
        {"name": "b", "protocol": "future/9", "url": "future://h:1"},
        {"name": "c", "protocol": "mcp/2025-11-25", "url": "ws://h:1", "params": None, "x": 1},
    ]
    peer = script(lambda frame: hello_reply(frame, bindings=bindings))
    async with connect(peer.url, ready_timeout=10) as client:
        manifest = client.manifest
        assert (manifest.session_id, manifest.name, manifest.version) == ("sess-1", "scripted", "1")
        assert [(b.name, b.protocol, b.url, b.params) for b in manifest.bindings] == [
            ("b", "future/9", "future://h:1", {}),
            ("c", "mcp/2025-11-25", "ws://h:1", {}),
        ]


@pytest.mark.parametrize(
    "hello",
    [
        {"env": None},
        {"env": {}},
        {"env": {"name": "n"}},
        {"bindings": None},
        {"bindings": 5},
        {"bindings": [5]},
        {"bindings": ["x"]},
        {"bindings": [None]},
        {"bindings": [{"name": "a"}]},
        {"bindings": [{"name": "a", "protocol": "p", "url": "u", "params": [1]}]},
        {"bindings": [{"name": "a", "protocol": "p", "url": "u", "params": "text"}]},
    ],
    ids=repr,
)
async def test_a_hello_that_is_none_is_a_protocol_error(script: Script, hello: dict[str, Any]) -> None:
    peer = script(lambda frame: hello_reply(frame, **hello))
    with pytest.raises(HudProtocolError, match="hello: the result is not that of an environment"):
        async with connect(peer.url, ready_timeout=10):
            pass


SCORES = ["true", "false", "null", '"1"', "NaN", "Infinity", "-Infinity", "1e999", "[1]", "{}", "9" * 400]


@pytest.mark.parametrize("score", [*SCORES, None], ids=lambda score: str(score)[:10])
async def test_cc_56_a_score_that_is_no_finite_number_is_refused(script: Script, score: str | None) -> None:
    body = '{"done":true}' if score is None else f'{{"score":{score}}}'
    peer = script(raw("tasks.grade", lambda frame: f'{{"id":{frame["id"]},"result":{body}}}\n'.encode()))
    async with connect(peer.url, ready_timeout=10) as client:
        with pytest.raises(HudProtocolError) as refusal:
            await client.grade("x")
    assert refusal.value.code == -32603
    assert refusal.value.message.startswith("tasks.grade: result must include a finite numeric 'score', got ")
    assert len(refusal.value.message) < 200


@pytest.mark.parametrize("score", [0, 1, -3, 2.5, 1e300])
async def test_cc_56_a_finite_score_is_given_as_it_came(script: Script, score: float) -> None:
    peer = script(answering(tasks_grade={"score": score, "info": {"k": 1}}))
    async with connect(peer.url, ready_timeout=10) as client:
        assert await client.grade("x") == {"score": score, "info": {"k": 1}}


def test_cc_57_leaving_disconnects_without_bye(script: Script, kind: str) -> None:
    peer = script(answering(tasks_start={"prompt": "go"}))
    talk(kind, peer.url, ("tasks.start", {"id": "a", "args": {}}))
    deadline = time.monotonic() + 5
    while not peer.ended:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert [frame["method"] for frame in peer.frames[0]] == ["hello", "tasks.start"]


async def test_a_start_without_a_prompt_is_an_error(script: Script) -> None:
    peer = script(answering(tasks_start={"score": 1}))
    async with connect(peer.url, ready_timeout=10) as client:
        with pytest.raises(HudProtocolError, match=r"tasks\.start: result has no 'prompt'"):
            await client.start_task("a")


@pytest.mark.parametrize("tasks", [None, {}, 5, "x"], ids=repr)
async def test_a_list_that_is_none_is_empty(script: Script, tasks: Any) -> None:
    peer = script(answering(tasks_list={"tasks": tasks}))
    async with connect(peer.url, ready_timeout=10) as client:
        assert await client.list_tasks() == []


def test_a_request_beyond_the_limit_is_refused_here(script: Script, kind: str) -> None:
    peer = script(answering(tasks_list={"tasks": []}))
    if kind == "blocking":
        with Connection.open(peer.url, timeout_s=10) as connection:
            with pytest.raises(UsageError, match=r"tasks\.grade: the request is 167\d+ bytes; a frame holds 16777216"):
                connection.call("tasks.grade", {"answer": "x" * 16_777_216})
            assert connection.call("tasks.list", {}) == {"tasks": []}
        return

    async def drive() -> None:
        async with connect(peer.url, ready_timeout=10) as client:
            with pytest.raises(UsageError, match=r"tasks\.grade: the request is 167\d+ bytes; a frame holds 16777216"):
                await client.grade("x" * 16_777_216)
            assert await client.list_tasks() == []

    asyncio.run(drive())


def test_a_request_without_json_form_is_refused_here(script: Script, kind: str) -> None:
    peer = script(answering(tasks_list={"tasks": []}))
    first, second = talk(kind, peer.url, ("tasks.start", {"id": "a", "args": {"a": object()}}), ("tasks.list", {}))
    assert isinstance(first, UsageError)
    assert first.message == "tasks.start: Object of type object is not JSON serializable"
    assert second == {"tasks": []}


def test_a_peer_that_goes_away_during_a_call_is_an_error_at_once(script: Script, kind: str) -> None:
    peer = script(raw("tasks.list", lambda _frame: None))
    begun = time.monotonic()
    first, second = talk(kind, peer.url, ("tasks.list", {}), ("tasks.list", {}))
    assert isinstance(first, UnreachableError | EOFError | OSError)
    assert isinstance(second, UnreachableError | EOFError | OSError)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("tcp://h:1", ("h", 1)),
        ("h:1", ("h", 1)),
        ("h", ("h", 8765)),
        ("tcp://h", ("h", 8765)),
        ("tcp://127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("tcp://[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", 8765)),
        ("::1", ("::1", 8765)),
    ],
)
def test_an_address_is_read_with_its_shorthands(url: str, address: tuple[str, int]) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        *("", "tcp://", ":1", "tcp://:1", "http://h:1", "tcp://h:0", "tcp://h:65536", "tcp://h:x", "tcp://h:-1"),
        *("tcp://h:1/", "ws://h", "tcp://h:", "h:1:2", "[h]:1:2", "[::1", "::g"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_url(url)
    assert refusal.value.message == f"{url!r} is no control-channel address"
    assert refusal.value.hint == "give tcp://HOST:PORT"


async def test_a_capability_is_found_by_name_protocol_and_family(script: Script) -> None:
    bindings = [
        {"name": "tools", "protocol": "mcp/2025-11-25", "url": "http://h:1/mcp"},
        {"name": "more", "protocol": "mcp/2025-11-25", "url": "http://h:2/mcp"},
        {"name": "screen", "protocol": "rfb/3.8", "url": "rfb://user:secret@h:5900/?q#f", "params": {"display": 0}},
    ]
    peer = script(lambda frame: hello_reply(frame, bindings=bindings))
    async with connect(peer.url, ready_timeout=10) as client:
        for reference in ("screen", "rfb/3.8", "rfb"):
            found = client.binding(reference)
            assert (found.name, found.params) == ("screen", {"display": 0})
            assert found.url.startswith("rfb://user@127.0.0.1:")
            assert found.url.endswith("/?q#f")
        with pytest.raises(UsageError, match="'mcp' means several capabilities"):
            client.binding("mcp")
        with pytest.raises(NotFoundError) as refusal:
            client.binding("shell")
        assert refusal.value.hint == "it has: tools (mcp/2025-11-25), more (mcp/2025-11-25), screen (rfb/3.8)"


async def test_connecting_twice_at_once_gives_two_sessions_of_their_own(script: Script) -> None:
    peer = script(lambda frame: hello_reply(frame))
    clients: list[Client] = []

    async def hold() -> None:
        async with connect(peer.url, ready_timeout=10) as client:
            clients.append(client)
            await asyncio.sleep(0.05)

    await asyncio.gather(hold(), hold())
    assert len(peer.frames) == 2
    assert clients[0] is not clients[1]


def test_every_failure_is_an_error_of_ours(script: Script) -> None:
    """Commands and rollouts print these; anything else would be shown as a defect."""
    peer = script(raw("tasks.list", lambda _frame: None))

    async def drive() -> None:
        async with connect(peer.url, ready_timeout=10) as client:
            with pytest.raises(HudError):
                await client.list_tasks()

    asyncio.run(drive())
