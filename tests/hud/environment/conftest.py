"""Served environments in a known state; each test that asks gets its own, on a free port."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hud.environment import Environment
from tests.hud.environment.channel import Channel, Peer, ServedProcess
from tests.hud.environment.probe import Probe


@pytest.fixture
def serve() -> Iterator[Callable[..., Channel]]:
    """Serve an environment in this process; ended with the test."""
    channels: list[Channel] = []

    def start(environment: Environment, **options: Any) -> Channel:
        channels.append(Channel(environment, **options))
        return channels[-1]

    yield start
    for channel in channels:
        channel.stop()


@pytest.fixture
def probe() -> Probe:
    """The environment that most tests of the channel use, with a journal of what its templates did."""
    return Probe()


@pytest.fixture
def channel(serve: Callable[..., Channel], probe: Probe) -> Channel:
    """The probe environment, served."""
    served = serve(probe.environment)
    probe.loop = served.loop
    return served


@pytest.fixture
def peer(channel: Channel) -> Peer:
    """A raw connection to the served probe."""
    return channel.connect()


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., ServedProcess]]:
    """Write a source and serve it in a process of its own; killed with the test if it still runs."""
    processes: list[ServedProcess] = []

    def start(source: str, *options: str, env: dict[str, str] | None = None) -> ServedProcess:
        folder = tmp_path / f"served{len(processes)}"
        folder.mkdir()
        file = folder / "env.py"
        file.write_text("from hud import Environment\n" + textwrap.dedent(source))
        processes.append(ServedProcess(file, *options, env=env))
        return processes[-1]

    yield start
    for process in processes:
        process.close()
