"""Transport, framing and envelope: rules CC-01 to CC-12 of the control-channel specification."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hud.environment import Environment
from tests.hud.environment.channel import LIMIT_BYTES, Channel, Peer, error_of, padded, request, until
from tests.hud.environment.probe import Probe

IDS: list[Any] = [1, 0, -5, 2**53 + 1, "a", "", "é\u2028", 1.5, True, False, [1, [2]], {"k": None}]


@pytest.mark.parametrize("identity", IDS, ids=[json.dumps(i) for i in IDS])
def test_cc_01_each_identified_request_gets_one_line_with_its_id_value_and_type(peer: Peer, identity: Any) -> None:
    peer.send(request("tasks.cancel", id=identity))
    line = peer.line()
    frame = json.loads(line)
    assert line.count(b"\n") == 1
    assert set(frame) == {"jsonrpc", "id", "result"}
    assert frame["jsonrpc"] == "2.0"
    assert frame["id"] == identity
    assert type(frame["id"]) is type(identity)
    assert peer.is_silent()


def test_cc_01_frames_are_compact_ascii(channel: Channel, peer: Peer) -> None:
    peer.send(request("tasks.start", {"id": "tagged", "args": {"tag": "é\u2028 \U0001f600"}}))
    line = peer.line()
    assert line == b'{"jsonrpc":"2.0","id":1,"result":{"prompt":"\\u00e9\\u2028 \\ud83d\\ude00","extra":7}}\n'


@pytest.mark.parametrize("absent", [b'"id":null,', b""], ids=["null", "absent"])
def test_cc_02_a_request_without_id_is_executed_and_never_answered(peer: Peer, probe: Probe, absent: bytes) -> None:
    head = b'{"jsonrpc":"2.0",' + absent
    peer.send(head + b'"method":"tasks.start","params":{"id":"tagged","args":{"tag":"quiet"}}}\n')
    peer.send(head + b'"method":"nope"}\n')
    while (reply := peer.call("tasks.grade", {"answer": 5})).get("error", {}).get("code") == -32600:
        assert "still running" in reply["error"]["message"]
    assert reply["result"] == {"score": 0.25, "tag": "quiet", "answer": 5}
    peer.send(head + b'"method":"tasks.grade","params":{"answer":1}}\n')
    assert peer.is_silent()


def test_cc_03_two_frames_in_one_segment_are_answered_in_order(peer: Peer) -> None:
    peer.send(request("hello", id="first"), request("tasks.list", id="second"), request("nope", id="third"))
    assert [peer.frame()["id"] for _ in range(3)] == ["first", "second", "third"]


def test_cc_03_carriage_returns_byte_order_marks_and_white_space_are_tolerated(peer: Peer) -> None:
    peer.send(b'\xef\xbb\xbf { "id" : 1 ,\t"method" : "tasks.cancel" } \r\n')
    assert peer.frame()["result"] == {"cancelled": True}


def test_cc_03_raw_utf8_is_read_and_of_duplicate_keys_the_last_wins(peer: Peer) -> None:
    peer.send('{"id":1,"id":"é","method":"nope","method":"ü"}\n'.encode())
    frame = peer.frame()
    assert frame["id"] == "é"
    assert error_of(frame) == (-32601, "method not found: ü")


def test_cc_03_a_last_frame_may_end_with_the_stream(peer: Peer) -> None:
    peer.send(request("hello").rstrip(b"\n"))
    peer.half_close()
    assert "session_id" in peer.frame()["result"]
    assert peer.rest() == b""


def test_cc_03_a_last_frame_that_cancels_is_answered_before_the_connection_ends(peer: Peer, probe: Probe) -> None:
    peer.start("tagged", {"tag": "a", "cleanup_s": 0.05})
    peer.send(request("tasks.cancel", id=9).rstrip(b"\n"))
    peer.half_close()
    assert peer.frame() == {"jsonrpc": "2.0", "id": 9, "result": {"cancelled": True}}
    assert peer.rest() == b""
    assert probe.journal == ["started a", "closed a"]


def test_cc_03_a_frame_may_arrive_byte_by_byte(peer: Peer) -> None:
    for byte in request("tasks.cancel", id="slow") + request("hello", id="slower"):
        peer.send(bytes([byte]))
    assert [peer.frame()["id"], peer.frame()["id"]] == ["slow", "slower"]


def test_cc_04_a_frame_of_exactly_the_limit_is_accepted(peer: Peer) -> None:
    peer.send(padded(request("tasks.cancel"), LIMIT_BYTES))
    assert peer.frame()["result"] == {"cancelled": True}


def test_cc_04_an_answer_that_fills_the_frame_reaches_the_template(peer: Peer) -> None:
    peer.start("echo")
    shell = len(request("tasks.grade", {"answer": ""})) - 1
    peer.send(request("tasks.grade", {"answer": "y" * (LIMIT_BYTES - shell)}))
    answer = peer.frame()["result"]["answer"]
    assert answer == "y" * (LIMIT_BYTES - shell)


def test_cc_05_a_larger_frame_is_refused_with_null_id_and_the_task_is_parked(channel: Channel, peer: Peer) -> None:
    peer.start("add", {"a": 4})
    peer.send(padded(request("tasks.grade", {"answer": "6"}), LIMIT_BYTES + 1))
    frame = peer.frame()
    message = f"Control-channel frame is {LIMIT_BYTES + 1} bytes; limit is {LIMIT_BYTES} bytes."
    assert frame["id"] is None
    assert error_of(frame) == (-32000, message)
    assert peer.rest() == b""
    assert channel.connect().grade("6") == {"score": 1.0}


def test_cc_05_a_frame_without_end_is_refused_once_it_is_too_large(channel: Channel, peer: Peer) -> None:
    peer.start("add", {"a": 4})
    peer.send(b"x" * (LIMIT_BYTES + 1))
    frame = peer.frame()
    assert frame["id"] is None
    code, message = error_of(frame)
    assert code == -32000
    shown = f"Control-channel frame exceeds the limit of {LIMIT_BYTES} bytes (received at least 16777"
    assert message.startswith(shown)
    assert peer.rest() == b""
    assert channel.connect().grade("6") == {"score": 1.0}


def test_cc_06_a_prompt_beyond_the_limit_is_an_error_and_its_task_is_closed(peer: Peer, probe: Probe) -> None:
    code, message = peer.error("tasks.start", {"id": "prompt_of", "args": {"size": LIMIT_BYTES}})
    assert code == -32000
    assert message.startswith("Control-channel response is 1677")
    assert f"limit is {LIMIT_BYTES} bytes (excluding the newline)." in message
    until(lambda: probe.journal == ["closed prompt_of"])
    assert peer.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")


def test_cc_06_an_evaluation_beyond_the_limit_is_an_error_and_consumes_the_task(peer: Peer, probe: Probe) -> None:
    peer.start("evaluation_of", {"size": LIMIT_BYTES})
    code, message = peer.error("tasks.grade", {"answer": ""})
    assert (code, message[:28]) == (-32000, "Control-channel response is ")
    assert probe.journal == ["closed evaluation_of"]
    assert peer.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")


@pytest.mark.parametrize("excess", [0, 1])
def test_cc_06_the_limit_counts_the_reply_without_its_line_feed(peer: Peer, excess: int) -> None:
    shell = len(b'{"jsonrpc":"2.0","id":1,"result":{"prompt":""}}')
    peer.send(request("tasks.start", {"id": "prompt_of", "args": {"size": LIMIT_BYTES - shell + excess}}))
    line = peer.line()
    assert len(line) == LIMIT_BYTES + 1 if not excess else b'"error"' in line


def test_cc_06_a_list_beyond_the_limit_is_an_error_and_the_connection_stays(serve: Callable[..., Channel]) -> None:
    environment = Environment("wordy")

    @environment.template(description="x" * LIMIT_BYTES)
    async def wordy() -> Any:
        yield 0

    peer = serve(environment).connect()
    code, message = peer.error("tasks.list")
    assert (code, message[:28]) == (-32000, "Control-channel response is ")
    assert peer.start("wordy") == 0


def test_cc_07_a_session_sees_nothing_it_did_not_ask_for(channel: Channel, probe: Probe) -> None:
    watcher, other = channel.connect(), channel.connect()
    watcher.start("gated", {"tag": "a", "where": "nowhere"})
    other.start("tagged", {"tag": "b"})
    other.grade("x")
    other.close()
    assert watcher.is_silent(0.3)


MALFORMED = {
    "garbage": b"\x00\xff\xfe garbage\n",
    "not json": b"{not json}\n",
    "truncated": b'{"jsonrpc":"2.0","id":1,\n',
    "not utf-8": b'{"id":1,"method":"\xff\xfe"}\n',
    "utf-16": '{"id":1,"method":"hello"}\n'.encode("utf-16"),
    "blank": b"\n",
    "white space": b" \t\r\n",
    "array": b'[{"id":1,"method":"hello"}]\n',
    "string": b'"hello"\n',
    "number": b"17\n",
    "null": b"null\n",
    "deep array": b"[" * 200_000 + b"]" * 200_000 + b"\n",
    "deep params": b'{"id":1,"method":"hello","params":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}\n",
    "two objects": b"{} {}\n",
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("16030100f8010000f403030a0a0a"),
    "huge number": b'{"id":' + b"9" * 20_000 + b',"method":"hello"}\n',
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_cc_08_a_malformed_frame_ends_the_connection_and_parks_its_task(channel: Channel, data: bytes) -> None:
    bystander, peer = channel.connect(), channel.connect()
    bystander.session_id()
    peer.start("add", {"a": 4})
    peer.send(data)
    peer.half_close()
    peer.rest()
    assert bystander.grade("6") == {"score": 1.0}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_cc_09_a_malformed_frame_is_answered_with_a_parse_error_before_the_end(channel: Channel, data: bytes) -> None:
    peer = channel.connect()
    peer.send(data)
    peer.half_close()
    frame = peer.frame()
    assert frame["id"] is None
    code, message = error_of(frame)
    assert code == -32700
    assert message.startswith("not a control-channel frame: ")
    assert peer.rest() == b""


def test_cc_08_a_malformed_frame_during_a_start_lets_it_finish_and_parks_it(
    channel: Channel, peer: Peer, probe: Probe
) -> None:
    peer.send(request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": "start"}}), b"garbage\n")
    assert error_of(peer.frame())[0] == -32700
    assert peer.rest() == b""
    probe.open()
    until(lambda: channel.parked() == 1)
    assert channel.connect().grade("x") == {"score": 1.0}


def test_cc_09_frames_behind_a_malformed_one_are_not_read(peer: Peer, probe: Probe) -> None:
    peer.send(b"nonsense\n", request("tasks.start", {"id": "tagged", "args": {"tag": "a"}}))
    assert error_of(peer.frame())[0] == -32700
    assert peer.rest() == b""
    assert probe.journal == []


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        ({"id": 1, "method": "nope"}, "nope"),
        ({"id": 1, "method": "tasks.Start"}, "tasks.Start"),
        ({"id": 1}, ""),
        ({"id": 1, "method": ""}, ""),
        ({"id": 1, "method": None}, ""),
        ({"id": 1, "method": 7}, ""),
        ({"id": 1, "method": ["hello"]}, ""),
        ({"id": 1, "method": {"hello": 1}}, ""),
        ({"id": 1, "jsonrpc": "1.0", "method": "é", "unknown": 1}, "é"),
    ],
)
def test_cc_10_an_unknown_method_is_refused_and_the_session_goes_on(peer: Peer, frame: Any, shown: str) -> None:
    peer.start("add", {"a": 4})
    peer.send(json.dumps(frame).encode() + b"\n")
    assert error_of(peer.frame()) == (-32601, f"method not found: {shown}")
    assert peer.grade("6") == {"score": 1.0}


def test_cc_11_tunnel_open_after_the_first_frame_is_an_unknown_method(peer: Peer) -> None:
    peer.session_id()
    assert peer.error("tunnel.open", {"capability": "shell"}) == (-32601, "method not found: tunnel.open")
    assert peer.result("tasks.cancel") == {"cancelled": True}


@pytest.mark.parametrize(
    ("method", "params", "answer"),
    [
        ("tasks.list", None, "tasks"),
        ("tasks.start", {"id": "add", "args": {"a": 1}}, "prompt"),
        ("tasks.cancel", None, "cancelled"),
        ("bye", None, "goodbye"),
        ("hello", None, "session_id"),
    ],
)
def test_cc_12_any_method_may_come_first(peer: Peer, method: str, params: Any, answer: str) -> None:
    assert answer in peer.result(method, params)


def test_cc_12_a_grade_may_come_first(peer: Peer) -> None:
    assert peer.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")


@pytest.mark.parametrize("params", [None, [], False, 0, "", {}], ids=repr)
def test_falsy_params_count_as_none(peer: Peer, params: Any) -> None:
    peer.send(json.dumps({"id": 1, "method": "hello", "params": params}).encode() + b"\n")
    assert "session_id" in peer.frame()["result"]


@pytest.mark.parametrize("method", ["hello", "tasks.start", "tasks.grade"])
@pytest.mark.parametrize("params", [[1], "x", 7, True], ids=repr)
def test_params_of_another_kind_are_refused_and_leave_the_task(peer: Peer, method: str, params: Any) -> None:
    peer.start("add", {"a": 4})
    code, message = peer.error(method, params)
    assert code == -32602
    assert message == f"params must be an object, got {type(params).__name__}"
    assert peer.grade("6") == {"score": 1.0}


@pytest.mark.parametrize("method", ["tasks.list", "tasks.cancel", "bye"])
def test_methods_without_params_ignore_them(peer: Peer, method: str) -> None:
    assert "result" in peer.call(method, [1, 2])
