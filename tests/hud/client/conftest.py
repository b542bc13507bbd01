"""Scripted peers, and both clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.hud.client.scripted import Answer, Scripted


@pytest.fixture
def script() -> Iterator[Callable[[Answer], Scripted]]:
    """Start a peer that answers as told; ended with the test."""
    peers: list[Scripted] = []

    def start(answer: Answer) -> Scripted:
        peers.append(Scripted(answer))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which client drives: that of the commands, or that of the rollouts."""
    return str(request.param)
