"""What goes wrong on the wire: floods, peers that do not read, many at once, peers and servers that are killed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hud.client.blocking import Connection
from hud.client.client import connect
from hud.environment import Environment
from hud.errors import UnreachableError
from tests.hud.environment.channel import LIMIT_BYTES, Channel, ServedProcess, request, until
from tests.hud.environment.probe import Probe, Steps

Spawn = Callable[..., ServedProcess]
MEGABYTE = 1 << 20

SLOW = """
import asyncio, os

env = Environment("slow", version="x" * 300)

@env.template(description="x" * 200_000)
async def slow(where: str):
    folder = os.path.dirname(__file__)
    open(os.path.join(folder, "started"), "w").close()
    try:
        if where == "start":
            await asyncio.sleep(60)
        yield "go"
        open(os.path.join(folder, "grading"), "w").close()
        if where == "grade":
            await asyncio.sleep(60)
        yield 1.0
    finally:
        open(os.path.join(folder, "closed"), "w").close()

@env.template()
async def large(size: int):
    yield "x" * size
    yield 1.0
"""


def marked(served: ServedProcess, name: str) -> bool:
    return served.source.with_name(name).exists()


def test_a_prompt_and_an_answer_of_ten_megabytes_pass(serve: Callable[..., Channel]) -> None:
    environment = Environment("large")
    prompt = "é\U0001f600\n" * (MEGABYTE // 2)

    @environment.template()
    async def large() -> Steps:
        answer = yield prompt
        yield {"score": 1.0, "same": answer == prompt}

    peer = serve(environment).connect()
    assert peer.start("large") == prompt
    assert peer.grade(prompt)["same"] is True


def test_a_client_that_never_reads_is_not_read_from_and_fills_no_memory(spawn: Spawn) -> None:
    served = spawn(SLOW)
    peer = served.connect()
    before = served.rss_bytes()
    flood = request("tasks.list") * 2000  # each is answered with 200 kB
    peer.socket.settimeout(1.0)
    with pytest.raises(TimeoutError):
        for _ in range(200):
            peer.send(flood)
    assert served.rss_bytes() - before < 40 * MEGABYTE
    other = served.connect()
    assert other.result("tasks.cancel") == {"cancelled": True}
    begun = time.monotonic()
    assert served.end(signal.SIGTERM) == 143
    assert time.monotonic() - begun < 5


def test_a_client_that_reads_late_gets_every_reply_in_order(channel: Channel) -> None:
    peer = channel.connect()
    replies = 4000
    peer.socket.settimeout(0.5)
    sent = b"".join(request("tasks.list", id=number) for number in range(replies))
    while sent:
        try:
            sent = sent[peer.socket.send(sent) :]
        except TimeoutError:
            break
    peer.socket.settimeout(20)
    received = 0
    while received < replies:
        if sent:
            sent = sent[peer.socket.send(sent[:50_000]) :]
        assert peer.frame()["id"] == received
        received += 1


def test_frames_sent_during_a_slow_cancel_fill_no_memory(spawn: Spawn) -> None:
    served = spawn(
        """
        import asyncio
        env = Environment("stubborn")

        @env.template()
        async def stubborn():
            try:
                yield "go"
            finally:
                await asyncio.sleep(2)
        """
    )
    peer = served.connect()
    peer.start("stubborn")
    before = served.rss_bytes()
    peer.send(request("tasks.cancel", id=2))
    peer.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        for _ in range(200):
            peer.send(request("hello", {"pad": "x" * MEGABYTE}))
    assert served.rss_bytes() - before < 40 * MEGABYTE


def test_a_pending_large_reply_does_not_hold_up_the_end(spawn: Spawn) -> None:
    served = spawn(SLOW)
    peer = served.connect()
    peer.send(request("tasks.start", {"id": "large", "args": {"size": 15 * MEGABYTE}}))
    assert peer.socket.recv(1)
    begun = time.monotonic()
    assert served.end(signal.SIGTERM) == 143
    assert time.monotonic() - begun < 5


def test_five_hundred_clients_at_once(spawn: Spawn) -> None:
    served = spawn(
        """
        env = Environment("many")

        @env.template()
        async def add(a: int):
            answer = yield f"{a}+1"
            yield float(answer == str(a + 1))
        """
    )
    peers = [served.connect() for _ in range(500)]
    for number, peer in enumerate(peers):
        peer.send(request("hello", id=1), request("tasks.start", {"id": "add", "args": {"a": number}}, id=2))
    ids = {peer.frame()["result"]["session_id"] for peer in peers}
    assert len(ids) == 500
    for number, peer in enumerate(peers):
        assert peer.frame()["result"]["prompt"] == f"{number}+1"
        peer.send(request("tasks.grade", {"answer": str(number + 1)}, id=3))
    assert all(peer.frame()["result"] == {"score": 1.0} for peer in peers)


def test_connections_that_say_nothing_stall_nobody(channel: Channel) -> None:
    silent = [channel.connect() for _ in range(50)]
    halves = [channel.connect() for _ in range(50)]
    for half in halves:
        half.send(b'{"jsonrpc":"2.0","id":1,"me')
    assert channel.connect().start("add", {"a": 1}) == "What is 1+2?"
    for half in halves:
        half.send(b'thod":"tasks.cancel"}\n')
    assert all(half.frame()["result"] == {"cancelled": True} for half in halves)
    assert all(peer.is_silent(0.001) for peer in silent)


def test_any_split_of_a_stream_into_segments_gives_the_same_replies(channel: Channel) -> None:
    stream = b"".join(
        request(method, params, id=number)
        for number, (method, params) in enumerate(
            [("hello", None), ("nope", {"pad": "x" * 3000}), ("tasks.list", [1]), ("tasks.cancel", None), ("x", 7)] * 5
        )
    )
    expected = None
    for seed in range(5):
        peer = channel.connect()
        cuts = sorted(random.Random(seed).sample(range(1, len(stream)), 12))
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            peer.send(stream[start:end])
            time.sleep(0.001)
        replies = [(frame["id"], "result" in frame) for frame in (peer.frame() for _ in range(25))]
        assert expected in (None, replies)
        expected = replies


@pytest.mark.parametrize("seed", range(4))
def test_mutilated_frames_are_answered_or_end_the_connection(
    channel: Channel, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    choice = random.Random(seed)
    frames = [
        request("hello", {"session_id": "sess-0", "connections": []}),
        request("tasks.start", {"id": "add", "args": {"a": 4, "b": "2"}}),
        request("tasks.grade", {"answer": "6", "id": "add"}),
        request("tunnel.open", {"capability": "none"}),
        request("bye"),
    ]
    for _ in range(100):
        data = bytearray(b"".join(choice.choices(frames, k=3)))
        for _ in range(choice.randrange(1, 6)):
            at = choice.randrange(len(data))
            how = choice.randrange(4)
            if how == 0:
                data[at] = choice.randrange(256)
            elif how == 1:
                del data[at : at + choice.randrange(8)]
            elif how == 2:
                data[at:at] = choice.choice([b"\n", b'"', b"[" * 50, b"{}", b"\xff", b"null", b"1e999", b"\\ud800"])
            else:
                data[at : at + 4] = choice.choice([b"true", b"[]", b'"id"', b":-1,"])
            data = data or bytearray(b"\n")
        peer = channel.connect()
        peer.send(bytes(data))
        peer.half_close()
        for line in peer.rest().splitlines():
            assert {"result", "error"} & json.loads(line).keys()
        peer.close()
    channel.settled()
    assert channel.connect().start("add", {"a": 1}) == "What is 1+2?"
    assert "Fatal error" not in caplog.text
    assert "never retrieved" not in caplog.text


CLIENT = """
import sys
from hud.client.blocking import Connection
connection = Connection.open(sys.argv[1], timeout_s=10)
if sys.argv[2] == "grade":
    connection.call("tasks.start", {"id": "slow", "args": {"where": "grade"}})
    connection.call("tasks.grade", {"answer": "x"})
else:
    connection.call("tasks.start", {"id": "slow", "args": {"where": "start"}})
"""


@pytest.mark.parametrize("phase", ["start", "grade"])
def test_a_client_killed_in_the_middle_of_a_call_leaves_the_server_well(spawn: Spawn, phase: str) -> None:
    served = spawn(SLOW)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, f"tcp://127.0.0.1:{served.port}", phase])
    until(lambda: marked(served, "grading" if phase == "grade" else "started"))
    client.kill()
    client.wait()
    other = served.connect()
    if phase == "grade":
        until(lambda: marked(served, "closed"))
    assert other.error("tasks.grade", {"answer": "x"}) == (-32600, "no task in progress")
    assert other.start("large", {"size": 3}) == "xxx"


def killed_mid_start(served: ServedProcess) -> None:
    until(lambda: marked(served, "started"))
    served.process.kill()


def test_a_server_killed_in_the_middle_of_a_start_is_an_error_for_commands_at_once(spawn: Spawn) -> None:
    import threading

    served = spawn(SLOW)
    with Connection.open(f"tcp://127.0.0.1:{served.port}", timeout_s=10) as connection:
        killer = threading.Thread(target=killed_mid_start, args=(served,))
        killer.start()
        begun = time.monotonic()
        with pytest.raises((EOFError, OSError, UnreachableError)):
            connection.call("tasks.start", {"id": "slow", "args": {"where": "start"}})
        assert time.monotonic() - begun < 5
        killer.join()


async def test_a_server_killed_in_the_middle_of_a_start_is_an_error_for_rollouts_at_once(spawn: Spawn) -> None:
    served = spawn(SLOW)
    async with connect(f"tcp://127.0.0.1:{served.port}", ready_timeout=10) as client:
        killing = asyncio.get_running_loop().run_in_executor(None, killed_mid_start, served)
        begun = time.monotonic()
        with pytest.raises(UnreachableError, match=r"the connection to the environment was lost during tasks\.start"):
            await client.start_task("slow", {"where": "start"})
        assert time.monotonic() - begun < 5
        await killing


def test_a_large_request_that_is_refused_still_gets_its_answer(channel: Channel) -> None:
    """Closing over unread bytes would reset the connection, and the client would never see why."""
    for _ in range(3):
        peer = channel.connect()
        peer.send(b"not json\n" + b"x" * (4 * MEGABYTE))
        assert peer.frame()["error"]["code"] == -32700
        peer.rest()


def test_a_refused_sender_is_cut_off_in_the_end(channel: Channel) -> None:
    peer = channel.connect()
    peer.send(b"not json\n")
    peer.line()
    until(lambda: channel.server.strays)
    until(lambda: not channel.server.strays)
    with pytest.raises(OSError):  # noqa: PT011  a reset or a broken pipe, as the kernel sees fit
        for _ in range(100):
            peer.send(b"x" * MEGABYTE)


def test_frames_of_the_full_size_on_many_connections_leave_no_memory_behind(spawn: Spawn) -> None:
    served = spawn(SLOW)
    served.connect().session_id()
    before = served.rss_bytes()
    frame = request("tasks.cancel")[:-2] + b" " * (LIMIT_BYTES - 100) + b"}\n"
    for _ in range(12):
        peer = served.connect()
        peer.send(frame)
        assert peer.frame()["result"] == {"cancelled": True}
    assert served.rss_bytes() - before < 6 * LIMIT_BYTES


def test_a_parked_task_that_nobody_comes_back_for_expires(
    serve: Callable[..., Channel], probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    channel = serve(probe.environment, parked_ttl_s=0.1)
    ids = []
    for tag in "abc":
        peer = channel.connect()
        ids.append(peer.session_id())
        peer.start("tagged", {"tag": tag})
        peer.close()
        time.sleep(0.03)
    until(lambda: probe.journal[-3:] == ["closed a", "closed b", "closed c"])
    peer = channel.connect()
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32600, "no task in progress")
    assert peer.error("hello", {"session_id": ids[0]})[1] == f"unknown session: '{ids[0]}'"
    assert channel.server.parked == {}
    until(lambda: channel.server.served.users == 1)
    assert f"task 'tagged' of session {ids[0]} expired: nobody graded it" in caplog.text


def test_a_task_that_is_resumed_in_time_does_not_expire(serve: Callable[..., Channel], probe: Probe) -> None:
    channel = serve(probe.environment, parked_ttl_s=0.15)
    owner = channel.connect()
    session_id = owner.session_id()
    owner.start("tagged", {"tag": "a"})
    owner.close()
    channel.settled()
    time.sleep(0.05)
    resumed = channel.connect()
    resumed.result("hello", {"session_id": session_id})
    time.sleep(0.25)
    assert resumed.grade("x")["tag"] == "a"


@pytest.fixture
def guarded(serve: Callable[..., Channel], probe: Probe) -> Channel:
    return serve(probe.environment, token="s3cret-\u00e9")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"token": None},
        {"token": 7},
        {"token": ""},
        {"token": "s3cret"},
        {"token": "\ud800"},
        ["s3cret-\u00e9"],
        None,
    ],
    ids=ascii,
)
@pytest.mark.parametrize("method", ["hello", "tasks.start", "tunnel.open", "nope", "bye"])
def test_a_first_frame_without_the_token_ends_the_connection(guarded: Channel, method: str, params: object) -> None:
    peer = guarded.connect()
    peer.send(request(method, params))
    frame = peer.frame()
    assert frame["error"]["code"] == -32001
    assert frame["error"]["message"] == "this channel asks for a token, and the first frame has none or another"
    peer.send(request("tasks.start", {"id": "add", "args": {"a": 1}}))
    assert peer.rest() == b""


def test_frames_behind_a_first_one_without_the_token_are_not_read(guarded: Channel, probe: Probe) -> None:
    peer = guarded.connect()
    peer.send(
        request("hello"), request("tasks.start", {"id": "tagged", "args": {"tag": "a"}, "token": "s3cret-\u00e9"})
    )
    assert peer.frame()["error"]["code"] == -32001
    assert peer.rest() == b""
    assert probe.journal == []


def test_a_first_frame_with_the_token_opens_the_connection(guarded: Channel) -> None:
    peer = guarded.connect()
    assert "session_id" in peer.result("hello", {"token": "s3cret-\u00e9"})
    assert peer.start("add", {"a": 1}) == "What is 1+2?"
    tunnel = guarded.connect()
    tunnel.send(request("tunnel.open", {"capability": "none", "token": "s3cret-\u00e9"}))
    assert tunnel.frame()["error"]["code"] == -32000


def test_the_token_comes_from_the_environment_variable_on_both_sides(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = spawn(SLOW, env={"HUD_CHANNEL_TOKEN": "s3cret"})
    assert served.connect().error("hello")[0] == -32001
    monkeypatch.setenv("HUD_CHANNEL_TOKEN", "s3cret")

    async def listed() -> int:
        async with connect(f"tcp://127.0.0.1:{served.port}", ready_timeout=10) as client:
            return len(await client.list_tasks())

    assert asyncio.run(listed()) == 2


def test_the_server_reads_on_when_a_peer_resets_before_its_reply(channel: Channel) -> None:
    for _ in range(20):
        peer = channel.connect()
        peer.send(request("tasks.list"))
        peer.reset()
    assert channel.connect().result("tasks.cancel") == {"cancelled": True}
    channel.settled()
    assert channel.server.served.users == 1


def test_a_port_is_free_again_when_the_server_has_ended(spawn: Spawn, tmp_path: Path) -> None:
    served = spawn(SLOW)
    served.connect().session_id()
    port = served.port
    assert served.end(signal.SIGTERM) == 143
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
