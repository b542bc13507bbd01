"""The records of capabilities: protocols, defaults and params of section 7.1 of the protocol specification."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.capabilities import Capability
from hud.environment import Environment
from hud.errors import UsageError

KEY = "ssh-ed25519 AAAA"


@pytest.mark.parametrize(
    ("made", "binding"),
    [
        (
            Capability.ssh(url="10.0.0.1", host_pubkey=KEY),
            ("shell", "ssh/2", "ssh://10.0.0.1:22", {"user": "agent", "host_pubkey": KEY, "shell": "bash"}),
        ),
        (
            Capability.ssh(
                name="box",
                url="ssh://h:2222",
                user="root",
                host_pubkey=KEY,
                client_key="PEM",
                client_key_path="/k",
                shell="powershell",
                cwd="/workspace",
                isolation="bwrap",
            ),
            (
                "box",
                "ssh/2",
                "ssh://h:2222",
                {
                    "user": "root",
                    "host_pubkey": KEY,
                    "shell": "powershell",
                    "client_key": "PEM",
                    "client_key_path": "/k",
                    "cwd": "/workspace",
                    "isolation": "bwrap",
                },
            ),
        ),
        (Capability.mcp(url="h"), ("tools", "mcp/2025-11-25", "ws://h:80", {"transport": "websocket"})),
        (Capability.mcp(url="wss://h/mcp"), ("tools", "mcp/2025-11-25", "wss://h:443/mcp", {"transport": "websocket"})),
        (
            Capability.mcp(url="https://h/mcp?x=1", auth_token="t"),
            (
                "tools",
                "mcp/2025-11-25",
                "https://h:443/mcp?x=1",
                {"transport": "streamable-http", "auth_token": "t"},
            ),
        ),
        (
            Capability.mcp(name="sse", url="http://h:8040/sse", transport="sse"),
            ("sse", "mcp/2025-11-25", "http://h:8040/sse", {"transport": "sse"}),
        ),
        (Capability.cdp(url="h"), ("browser", "cdp/1.3", "ws://h:9222", {})),
        (
            Capability.cdp(url="http://h:1/json", target_id="T"),
            ("browser", "cdp/1.3", "http://h:1/json", {"target_id": "T"}),
        ),
        (Capability.rfb(url="h"), ("screen", "rfb/3.8", "rfb://h:5900", {"display": 0})),
        (
            Capability.rfb(url="rfb://h", display=3, password="p"),
            ("screen", "rfb/3.8", "rfb://h:5903", {"display": 3, "password": "p"}),
        ),
        (
            Capability.robot(url="h", contract={"robot_type": "x"}),
            ("robot", "openpi/0", "ws://h:9091", {"contract": {"robot_type": "x"}}),
        ),
    ],
    ids=lambda value: value.protocol if isinstance(value, Capability) else "",
)
def test_a_factory_fills_in_protocol_address_and_params(made: Capability, binding: tuple[str, str, str, Any]) -> None:
    assert (made.name, made.protocol, made.url, made.params) == binding
    name, protocol, url, params = binding
    assert made.to_manifest() == {"name": name, "protocol": protocol, "url": url, "params": params}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("h:1", "ws://h:1"),
        ("ws://h", "ws://h:9222"),
        ("ws://user@h", "ws://user@h:9222"),
        ("ws://user:80@h", "ws://user:80@h:9222"),
        ("ws://[::1]", "ws://[::1]:9222"),
        ("ws://[::1]:5", "ws://[::1]:5"),
        ("[::1]", "ws://[::1]:9222"),
        ("ws://h/a:5", "ws://h:9222/a:5"),
        ("ws://h?a=b:5", "ws://h:9222?a=b:5"),
        ("ws://h#a:5", "ws://h:9222#a:5"),
        ("h/path", "ws://h:9222/path"),
    ],
)
def test_a_short_address_is_completed(url: str, address: str) -> None:
    assert Capability.cdp(url=url).url == address


@pytest.mark.parametrize(
    ("url", "transport", "message"),
    [
        ("tcp://h", None, "an MCP server is reached over ws, wss, http or https, not 'tcp'"),
        ("stdio://h", None, "an MCP server is reached over ws, wss, http or https, not 'stdio'"),
        ("ws://h", "sse", "transport 'sse' does not run over ws://"),
        ("http://h", "websocket", "transport 'websocket' does not run over http://"),
        ("http://h", "stdio", "transport 'stdio' does not run over http://"),
        ("", None, "a capability needs an address"),
    ],
)
def test_an_mcp_server_that_cannot_be_reached_so_is_refused(url: str, transport: str | None, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Capability.mcp(url=url, transport=transport)
    assert refusal.value.message == message


@given(
    st.text(),
    st.text(),
    st.text(),
    st.none() | st.dictionaries(st.text(), st.integers()),
    st.dictionaries(st.text(min_size=12), st.integers()),
)
def test_a_binding_is_read_whatever_else_it_holds(
    name: str, protocol: str, url: str, params: Any, more: dict[str, int]
) -> None:
    binding = more | {"name": name, "protocol": protocol, "url": url, "params": params}
    read = Capability.from_manifest(binding)
    assert (read.name, read.protocol, read.url, read.params) == (name, protocol, url, params or {})
    assert Capability.from_manifest(json.loads(json.dumps(read.to_manifest()))) == read


def test_a_capability_is_immutable_and_keeps_its_params_to_itself() -> None:
    params = {"a": 1}
    capability = Capability("n", "p/1", "u://h:1", params)
    params["a"] = 2
    assert capability.params == {"a": 1}
    capability.to_manifest()["params"]["a"] = 3
    assert capability.params == {"a": 1}
    with pytest.raises(AttributeError, match="a capability is immutable: publish another instead of setting 'url'"):
        capability.url = "x"
    assert capability.family == "p"


def test_an_environment_publishes_under_unique_names_in_order() -> None:
    environment = Environment("e", capabilities=[Capability.cdp(url="a"), Capability.rfb(url="b")])
    environment.add_capability(Capability.cdp(url="c"))
    assert [capability.url for capability in environment.capabilities] == ["rfb://b:5900", "ws://c:9222"]
    assert environment.capability("browser").url == "ws://c:9222"
    with pytest.raises(KeyError):
        environment.capability("nope")
    with pytest.raises(ValueError, match="capability 'n' has no address"):
        environment.add_capability(Capability("n", "p/1", ""))
