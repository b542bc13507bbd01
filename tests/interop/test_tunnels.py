"""Capabilities through the control port: one kind of client, the other kind of server, and a daemon behind it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Pair
from tests.interop.parties import HERE, Party, Server, copy_source

pytestmark = pytest.mark.peer


@pytest.fixture(scope="session")
def seen(pair: Pair) -> dict[str, Any]:
    output: dict[str, Any] = pair.client.run("tunnel.py", pair.server.url)
    return output


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("shell", "ssh://LOCAL"),
        ("mcp/2025-11-25", "http://LOCAL/mcp?key=1"),
        ("cdp", "ws://LOCAL/devtools/browser/1"),
        ("desk", "rfb://LOCAL"),
        ("robot", "ws://LOCAL"),
    ],
)
def test_a_mebibyte_comes_back_through_a_local_address_of_any_capability(
    seen: dict[str, Any], reference: str, url: str
) -> None:
    """All five run at once. A reference is a name, a protocol or a family."""
    greeting = "hello from the daemon\n"
    assert seen[reference] == {"url": url, "greeting": greeting, "echoed": 1 << 20, "same": True}


def test_an_address_serves_more_than_one_connection(seen: dict[str, Any]) -> None:
    assert seen["again"]["same"]


def test_tunnels_run_beside_a_call(seen: dict[str, Any]) -> None:
    assert seen["beside a running call"] == [True, {"prompt": "beside tunnels"}]


@pytest.fixture
def sshd(ours: Party) -> Iterator[int]:
    """A real SSH daemon; gives its port."""
    process = subprocess.Popen([ours.python, HERE / "programs" / "sshd.py"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_their_ssh_client_works_through_our_server(ours: Party, theirs: Party, sshd: int, tmp_path: Path) -> None:
    server = Server(ours, copy_source(tmp_path / "served"), {"INTEROP_DAEMON": str(sshd)})
    try:
        seen = theirs.run("shell.py", server.ready().url, str(server.folder))
    finally:
        server.stop()
    assert (seen["out"], seen["exit_status"]) == ("hi\n", 7)
    assert {"env.py", "tasks.py"} <= set(seen["listed"])
