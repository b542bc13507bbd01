"""Both implementations, the common environment served by each, and the pairs in which they meet."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import bench
from tests.interop.parties import Party, Server, copy_source


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """This project."""
    return Party("ours", Path(sys.executable), tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """The public SDK."""
    return Party("theirs", bench.require_peer(), tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="session")
def daemon() -> Iterator[int]:
    """A daemon that greets and then sends everything back; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket) -> None:
    try:
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=_echo, args=(stream,), daemon=True).start()
    except OSError:
        pass  # the end of the session


def _echo(stream: socket.socket) -> None:
    with stream:
        stream.sendall(b"hello from the daemon\n")
        while data := stream.recv(1 << 16):
            stream.sendall(data)


@pytest.fixture(scope="session")
def servers(
    ours: Party, theirs: Party, daemon: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """The common environment, served by each."""
    variables = {"INTEROP_DAEMON": str(daemon)}
    started = {
        party.name: Server(party, copy_source(tmp_path_factory.mktemp("served") / party.name), variables)
        for party in (ours, theirs)
    }
    try:
        yield {name: server.ready() for name, server in started.items()}
    finally:
        for server in started.values():
            server.stop()


@dataclass(frozen=True)
class Pair:
    """Who drives whom."""

    client: Party
    server: Server


@pytest.fixture(
    scope="session",
    params=[("theirs", "ours"), ("ours", "theirs"), ("theirs", "theirs")],
    ids=["their-client-our-server", "our-client-their-server", "control"],
)
def pair(request: pytest.FixtureRequest, ours: Party, theirs: Party, servers: dict[str, Server]) -> Pair:
    """The pairs; the control is the public SDK with itself: what fails there is a fault of the expectation."""
    client, server = request.param
    return Pair({"ours": ours, "theirs": theirs}[client], servers[server])
