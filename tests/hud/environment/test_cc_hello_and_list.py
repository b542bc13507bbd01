"""`hello` and `tasks.list`: rules CC-13 to CC-19 of the control-channel specification."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from hud.capabilities import Capability
from hud.environment import DataFileArg, DataFileRef, DataFilesArg, Environment, GradingArg, PromptArg
from tests.hud.environment.channel import Channel, Peer


def test_cc_13_hello_gives_session_environment_and_bindings(peer: Peer) -> None:
    result = peer.result("hello", {})
    assert set(result) == {"session_id", "env", "bindings"}
    assert result["env"] == {"name": "probe", "version": "1.2.3"}
    assert result["bindings"] == []


def test_cc_13_a_capability_published_late_is_in_the_next_hello(channel: Channel, peer: Peer) -> None:
    peer.result("hello")
    channel.environment.add_capability(Capability.cdp(url="ws://127.0.0.1:9222"))
    (binding,) = peer.result("hello")["bindings"]
    assert binding["name"] == "browser"


def test_cc_13_a_capability_that_cannot_be_written_is_an_error_and_the_session_goes_on(
    channel: Channel, peer: Peer
) -> None:
    channel.environment.add_capability(Capability("odd", "odd/1", "odd://h:1", {"key": {1, 2}}))
    code, message = peer.error("hello")
    assert (code, message) == (-32603, "hello: TypeError: Object of type set is not JSON serializable")
    assert peer.start("add", {"a": 1}) == "What is 1+2?"


@pytest.mark.parametrize("again", [None, {}, {"session_id": None}, "own"], ids=["bare", "empty", "null", "own id"])
def test_cc_14_a_repeated_hello_keeps_the_session(peer: Peer, again: Any) -> None:
    session_id = peer.session_id()
    peer.start("add", {"a": 4})
    params = {"session_id": session_id} if again == "own" else again
    assert peer.result("hello", params)["session_id"] == session_id
    assert peer.grade("6") == {"score": 1.0}


def test_cc_15_unknown_hello_keys_are_ignored(peer: Peer) -> None:
    result = peer.result("hello", {"protocol": "hud/9", "id": [1], "workspace_routes": [], "connections": [], "": 0})
    assert "session_id" in result


@pytest.mark.parametrize("session_id", [7, 0, True, False, "", ["sess"], {}], ids=repr)
def test_cc_16_a_session_id_that_is_no_string_is_refused(peer: Peer, session_id: Any) -> None:
    code, message = peer.error("hello", {"session_id": session_id})
    if session_id == "":
        assert (code, message) == (-32600, "unknown session: ''")
    else:
        assert (code, message) == (-32602, "hello: 'session_id' must be a string")


def test_cc_16_a_live_session_cannot_be_resumed(channel: Channel) -> None:
    owner, thief = channel.connect(), channel.connect()
    session_id = owner.session_id()
    own = thief.session_id()
    assert thief.error("hello", {"session_id": session_id}) == (-32600, f"session '{session_id}' has a live connection")
    assert thief.session_id() == own


@pytest.mark.parametrize("session_id", ["sess-00000000", "it's", "sess-\u00e9"])
def test_cc_16_an_unknown_session_cannot_be_resumed(peer: Peer, session_id: str) -> None:
    own = peer.session_id()
    assert peer.error("hello", {"session_id": session_id}) == (-32600, f"unknown session: {session_id!r}")
    assert peer.session_id() == own


@pytest.mark.parametrize("key", ["workspace_routes", "connections"])
@pytest.mark.parametrize("rows", [None, {}, "x", [1], [None], [{}], [{"capability": 7}]], ids=repr)
def test_hello_refuses_malformed_lists(peer: Peer, key: str, rows: Any) -> None:
    code, message = peer.error("hello", {key: rows})
    assert code == -32602
    assert message.startswith("hello: ")
    assert key in message


@pytest.mark.parametrize("key", ["workspace_routes", "connections"])
def test_hello_refuses_lists_that_no_workspace_here_can_honour(channel: Channel, peer: Peer, key: str) -> None:
    row = {"capability": "shell", "host": "db", "port": 5432, "name": "db", "url": "http://db", "headers": {"a": "b"}}
    assert peer.error("hello", {key: [row]}) == (-32000, "workspace capability 'shell' does not exist")
    channel.environment.add_capability(Capability.ssh(url="127.0.0.1", host_pubkey="ssh-ed25519 AAAA"))
    code, message = peer.error("hello", {key: [row]})
    assert code == -32000
    assert message.startswith("workspace capability 'shell' ")


def test_a_hello_that_is_refused_changes_nothing(channel: Channel, peer: Peer) -> None:
    waiting = channel.connect()
    session_id = waiting.session_id()
    waiting.start("tagged", {"tag": "waiting"})
    waiting.close()
    channel.settled()
    own = peer.session_id()
    row = {"capability": "shell", "host": "db", "port": 5432}
    assert peer.error("hello", {"session_id": session_id, "workspace_routes": [row]})[0] == -32000
    assert peer.session_id() == own
    assert channel.parked() == 1


def test_cc_17_session_ids_are_path_safe_and_carry_128_bits(channel: Channel) -> None:
    ids = [channel.connect().session_id() for _ in range(20)]
    assert all(re.fullmatch(r"sess-[0-9a-f]{32}", session_id) for session_id in ids)
    assert len(set(ids)) == 20


def test_cc_18_every_template_is_listed_in_order_with_its_arguments(peer: Peer) -> None:
    rows = peer.result("tasks.list")["tasks"]
    assert [row["id"] for row in rows][:3] == ["add", "echo", "tagged"]
    assert rows[0] == {
        "id": "add",
        "description": "adds",
        "args": {
            "properties": {
                "a": {"title": "A", "type": "integer"},
                "b": {"default": 2, "title": "B", "type": "integer"},
            },
            "required": ["a"],
            "type": "object",
            "additionalProperties": False,
        },
    }
    assert rows[1] == {
        "id": "echo",
        "description": "",
        "args": {"properties": {}, "type": "object", "additionalProperties": False},
    }


def test_cc_18_arguments_of_every_kind_are_described(serve: Callable[..., Channel]) -> None:
    environment = Environment("kinds")

    @environment.template()
    async def kinds(  # type: ignore[no-untyped-def]
        first: int,
        /,
        file_id,
        *rest: int,
        _private: int = 0,
        maybe: str | None = None,
        more: bool = True,
        **others: Any,
    ):
        """Docstrings are not published."""
        yield first, file_id, rest, _private, maybe, more, others

    (row,) = serve(environment).connect().result("tasks.list")["tasks"]
    assert row["description"] == ""
    assert row["args"] == {
        "properties": {
            "first": {"title": "First", "type": "integer"},
            "file_id": {"title": "File Id"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Maybe"},
            "more": {"default": True, "title": "More", "type": "boolean"},
        },
        "required": ["first", "file_id"],
        "type": "object",
        "additionalProperties": True,
    }


def test_cc_18_argument_hints_are_published(serve: Callable[..., Channel]) -> None:
    environment = Environment("hints")

    @environment.template()
    async def hinted(
        ask: PromptArg, one: DataFileArg[DataFileRef], many: DataFilesArg[DataFileRef], criteria: GradingArg[str]
    ) -> Any:
        yield ask, one, many, criteria

    (row,) = serve(environment).connect().result("tasks.list")["tasks"]
    properties = row["args"]["properties"]
    assert [properties[name]["x-hud-hint"] for name in properties] == ["prompt", "data-file", "data-files", "grading"]
    assert properties["ask"]["type"] == "string"
    assert properties["many"]["type"] == properties["criteria"]["type"] == "array"
    assert set(row["args"]["$defs"]["DataFileRef"]["properties"]) == {"file_id", "path"}
    assert row["args"]["$defs"]["DataFileRef"]["required"] == ["file_id"]


def test_cc_19_input_and_returns_are_listed_only_when_declared(serve: Callable[..., Channel]) -> None:
    environment = Environment("declared")

    @environment.template(input={"type": "string"}, returns=list[int])
    async def both() -> Any:
        yield 0

    @environment.template()
    async def neither() -> Any:
        yield 0

    first, second = serve(environment).connect().result("tasks.list")["tasks"]
    assert first["input"] == {"type": "string"}
    assert first["returns"] == {"type": "array", "items": {"type": "integer"}}
    assert set(second) == {"id", "description", "args"}
