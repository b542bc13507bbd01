"""Bindings and tunnels: rules CC-43 to CC-47 of the control-channel specification."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hud.capabilities import Capability
from hud.environment import Environment
from tests.hud.environment.channel import Channel, Peer, error_of, request, until
from tests.hud.environment.daemon import Daemon, closed_port, daemon, read_exactly
from tests.hud.environment.probe import Probe

MEGABYTE = 1 << 20


@pytest.fixture
def far() -> Iterator[Daemon]:
    """The daemon behind the capability `echo` of the probe."""
    with daemon() as served:
        yield served


@pytest.fixture
def tunnelled(channel: Channel, far: Daemon) -> Channel:
    """The served probe, with a capability `echo` that leads to `far`."""
    channel.environment.add_capability(Capability("echo", "echo/1", f"tcp://127.0.0.1:{far.port}"))
    return channel


def tunnel(channel: Channel, far: Daemon) -> tuple[Peer, socket.socket]:
    """Open a tunnel and give both of its ends."""
    near = channel.connect()
    near.send(request("tunnel.open", {"capability": "echo"}))
    assert near.frame() == {"jsonrpc": "2.0", "id": 1, "result": {"capability": "echo"}}
    return near, far.accept()


def test_cc_43_bindings_travel_with_their_protocols_defaults_and_params(serve: Callable[..., Channel]) -> None:
    contract = {"robot_type": "x", "control_rate": 10, "features": {}}
    environment = Environment(
        "bound",
        capabilities=[
            Capability.ssh(url="127.0.0.1", host_pubkey="ssh-ed25519 AAAA"),
            Capability.mcp(url="http://127.0.0.1:8040/mcp"),
            Capability.cdp(url="127.0.0.1"),
            Capability.rfb(url="127.0.0.1", display=2),
            Capability.robot(url="127.0.0.1", contract=contract),
            Capability("filetracking", "filetracking/1", "tcp://127.0.0.1:40002", {"root": "/workspace"}),
        ],
    )
    assert serve(environment).connect().result("hello")["bindings"] == [
        {
            "name": "shell",
            "protocol": "ssh/2",
            "url": "ssh://127.0.0.1:22",
            "params": {"user": "agent", "host_pubkey": "ssh-ed25519 AAAA", "shell": "bash"},
        },
        {
            "name": "tools",
            "protocol": "mcp/2025-11-25",
            "url": "http://127.0.0.1:8040/mcp",
            "params": {"transport": "streamable-http"},
        },
        {"name": "browser", "protocol": "cdp/1.3", "url": "ws://127.0.0.1:9222", "params": {}},
        {"name": "screen", "protocol": "rfb/3.8", "url": "rfb://127.0.0.1:5902", "params": {"display": 2}},
        {"name": "robot", "protocol": "openpi/0", "url": "ws://127.0.0.1:9091", "params": {"contract": contract}},
        {
            "name": "filetracking",
            "protocol": "filetracking/1",
            "url": "tcp://127.0.0.1:40002",
            "params": {"root": "/workspace"},
        },
    ]


def test_cc_43_a_republished_capability_replaces_and_moves_last(channel: Channel, peer: Peer) -> None:
    for url in ("ws://a:1", "ws://b:1", "ws://c:1"):
        channel.environment.add_capability(Capability.cdp(name=url[5], url=url))
    channel.environment.add_capability(Capability.cdp(name="a", url="ws://new:1"))
    bindings = peer.result("hello")["bindings"]
    assert [binding["url"] for binding in bindings] == ["ws://b:1", "ws://c:1", "ws://new:1"]


def test_cc_44_a_tunnel_is_transparent_after_one_reply(tunnelled: Channel, far: Daemon) -> None:
    near, stream = tunnel(tunnelled, far)
    stream.sendall(b"SSH-2.0-x\r\n")
    assert near.line() == b"SSH-2.0-x\r\n"
    near.send(request("hello"))
    assert read_exactly(stream, len(request("hello"))) == request("hello")


def test_cc_44_bytes_behind_the_preface_are_forwarded(tunnelled: Channel, far: Daemon) -> None:
    early = bytes(range(256)) + b'\n{"id":2,"method":"hello"}\n'
    near = tunnelled.connect()
    near.send(request("tunnel.open", {"capability": "echo"}) + early)
    assert near.frame()["result"] == {"capability": "echo"}
    assert read_exactly(far.accept(), len(early)) == early


def test_cc_44_a_megabyte_and_more_passes_both_ways_byte_for_byte(tunnelled: Channel, far: Daemon) -> None:
    near, stream = tunnel(tunnelled, far)
    there, back = (random.Random(seed).randbytes(3 * MEGABYTE + 7) for seed in (1, 2))
    writers = [
        threading.Thread(target=end.sendall, args=(data,)) for end, data in ((near.socket, there), (stream, back))
    ]
    for writer in writers:
        writer.start()
    assert read_exactly(stream, len(there)) == there
    assert read_exactly(near.socket, len(back)) == back
    for writer in writers:
        writer.join()


def test_cc_44_a_notification_opens_a_tunnel_without_a_reply(tunnelled: Channel, far: Daemon) -> None:
    near = tunnelled.connect()
    near.send(b'{"method":"tunnel.open","params":{"capability":"echo"}}\nabc')
    stream = far.accept()
    assert read_exactly(stream, 3) == b"abc"
    stream.sendall(b"raw\n")
    assert near.line() == b"raw\n"


def test_cc_44_a_slow_reader_slows_the_sender_down(tunnelled: Channel, far: Daemon) -> None:
    near, stream = tunnel(tunnelled, far)
    near.socket.settimeout(0.3)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 256 * MEGABYTE:
            sent += near.socket.send(bytes(MEGABYTE))
    assert sent < 64 * MEGABYTE
    near.socket.settimeout(20)
    assert read_exactly(stream, sent) == bytes(sent)


@pytest.mark.parametrize("first", ["near", "far"])
def test_cc_45_a_half_close_travels_on_and_the_other_direction_goes_on(
    tunnelled: Channel, far: Daemon, first: str
) -> None:
    near, stream = tunnel(tunnelled, far)
    ends = (near.socket, stream) if first == "near" else (stream, near.socket)
    ends[0].sendall(b"last words")
    ends[0].shutdown(socket.SHUT_WR)
    assert read_exactly(ends[1], 10) == b"last words"
    assert ends[1].recv(1) == b""
    ends[1].sendall(b"answer")
    ends[1].shutdown(socket.SHUT_WR)
    assert read_exactly(ends[0], 6) == b"answer"
    assert ends[0].recv(1) == b""
    until(lambda: not tunnelled.server.strays)


def test_cc_45_a_stream_that_ended_before_the_daemon_answered_is_ended_for_it(tunnelled: Channel, far: Daemon) -> None:
    near = tunnelled.connect()
    near.send(request("tunnel.open", {"capability": "echo"}).rstrip(b"\n"))
    near.half_close()
    assert near.frame()["result"] == {"capability": "echo"}
    stream = far.accept()
    assert stream.recv(1) == b""
    stream.sendall(b"answer")
    stream.close()
    assert near.rest() == b"answer"


@pytest.mark.parametrize("side", ["near", "far"])
def test_cc_45_a_reset_of_one_side_ends_the_other(tunnelled: Channel, far: Daemon, side: str) -> None:
    near, stream = tunnel(tunnelled, far)
    stream.sendall(b"x" * 1000)
    read_exactly(near.socket, 1000)
    resetting, other = (near.socket, stream) if side == "near" else (stream, near.socket)
    resetting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    resetting.close()
    assert other.recv(1) == b""
    until(lambda: not tunnelled.server.strays)


def test_cc_45_a_closed_tunnel_leaves_nothing_behind(tunnelled: Channel, far: Daemon) -> None:
    for _ in range(20):
        near, stream = tunnel(tunnelled, far)
        near.close()
        assert stream.recv(1) == b""
        stream.close()
    until(lambda: not tunnelled.server.strays and not tunnelled.server.sessions)
    assert tunnelled.server.served.users == 0


BAD_URLS = ["tcp://", "unix:///run/x", "tcp://host", "tcp://:80", "tcp://host:port", "tcp://host:99999", "tcp://[::1"]


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({}, -32602, "tunnel.open: 'capability' must be a string"),
        ({"capability": None}, -32602, "tunnel.open: 'capability' must be a string"),
        ({"capability": 7}, -32602, "tunnel.open: 'capability' must be a string"),
        ({"capability": ["echo"]}, -32602, "tunnel.open: 'capability' must be a string"),
        (["echo"], -32602, "tunnel.open: 'capability' must be a string"),
        ({"capability": "nope"}, -32000, "\"unknown capability: 'nope'\""),
        ({"capability": "echo/1"}, -32000, "\"unknown capability: 'echo/1'\""),
        ({"capability": ""}, -32000, "\"unknown capability: ''\""),
    ],
)
def test_cc_46_a_tunnel_that_cannot_be_is_refused_in_one_frame(
    tunnelled: Channel, params: Any, code: int, message: str
) -> None:
    near = tunnelled.connect()
    near.send(request("tunnel.open", params))
    assert error_of(near.frame()) == (code, message)
    assert near.rest() == b""


@pytest.mark.parametrize("url", BAD_URLS)
def test_cc_46_a_capability_without_host_and_port_has_no_tunnel(channel: Channel, url: str) -> None:
    channel.environment.add_capability(Capability("odd", "odd/1", url))
    near = channel.connect()
    near.send(request("tunnel.open", {"capability": "odd"}))
    assert error_of(near.frame()) == (-32602, "capability 'odd' has no host:port to tunnel to")
    assert near.rest() == b""


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "a" * 70 + ".example", "\u2028"])
def test_cc_46_a_daemon_that_cannot_be_reached_is_an_error(channel: Channel, host: str) -> None:
    channel.environment.add_capability(Capability("dead", "dead/1", f"tcp://{host}:{closed_port()}"))
    near = channel.connect()
    near.send(request("tunnel.open", {"capability": "dead"}))
    code, message = error_of(near.frame())
    assert code == -32000
    assert message
    assert near.rest() == b""


def test_cc_46_the_refusal_is_not_lost_behind_bytes_sent_early(channel: Channel) -> None:
    near = channel.connect()
    near.send(request("tunnel.open", {"capability": "nope"}) + bytes(MEGABYTE))
    assert error_of(near.frame())[0] == -32000
    assert near.rest() == b""


def test_cc_46_a_refused_notification_is_closed_in_silence(channel: Channel) -> None:
    near = channel.connect()
    near.send(b'{"method":"tunnel.open","params":{"capability":"nope"}}\n')
    assert near.rest() == b""


def test_cc_47_tunnels_run_at_once_and_beside_a_task_call(tunnelled: Channel, far: Daemon, probe: Probe) -> None:
    caller = tunnelled.connect()
    caller.send(request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": "start"}}))
    pairs = [tunnel(tunnelled, far) for _ in range(8)]
    payloads = [random.Random(number).randbytes(MEGABYTE + number) for number in range(8)]
    writers = [
        threading.Thread(target=pair[0].socket.sendall, args=(data,))
        for pair, data in zip(pairs, payloads, strict=True)
    ]
    for writer in writers:
        writer.start()
    for (near, stream), data in zip(pairs, payloads, strict=True):
        assert read_exactly(stream, len(data)) == data
        stream.sendall(data[:1000])
        assert read_exactly(near.socket, 1000) == data[:1000]
    for writer in writers:
        writer.join()
    probe.open()
    assert caller.frame()["result"] == {"prompt": "a"}


def test_cc_47_a_tunnel_outlives_the_session_that_opened_beside_it(tunnelled: Channel, far: Daemon) -> None:
    caller = tunnelled.connect()
    caller.session_id()
    near, stream = tunnel(tunnelled, far)
    caller.close()
    tunnelled.settled()
    near.send(b"still here")
    assert read_exactly(stream, 10) == b"still here"
