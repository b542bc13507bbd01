"""Serving a source that is being edited: new sessions get the new version, running and parked ones keep the old."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud.environment import Environment
from hud.environment.server import serve as serve_forever
from hud.errors import UsageError
from tests.hud.environment.channel import Channel, Peer, until
from tests.hud.environment.probe import Steps

SERVE = """
import sys
from hud.environment.server import serve
from hud.environment.source import load_environment

def ready(environment, host, port):
    print(port, flush=True)

path = sys.argv[1]
sys.exit(serve(lambda: load_environment(path), port=0, watch_paths=[sys.argv[2]], on_ready=ready))
"""

SOURCE = """
import os
from hud import Environment
from helper import VERSION

env = Environment("watched", version=VERSION)

def write(entry):
    with open(os.path.join(os.path.dirname(__file__), "journal"), "a") as file:
        file.write(f"{entry} {VERSION}\\n")

@env.initialize
async def up():
    write("up")

@env.shutdown
async def down():
    write("down")

@env.template()
async def it():
    answer = yield VERSION
    yield {"score": 1.0, "version": VERSION}
"""


class Watched:
    """A source that is served and watched in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "env.py").write_text(SOURCE)
        self.edit("helper.py", "VERSION = 'v1'\n")
        self.peers: list[Peer] = []
        with (folder / "stderr").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(folder / "env.py"), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def edit(self, name: str, text: str) -> None:
        """Save a file as editors do: written beside and renamed."""
        (self.folder / "beside").write_text(text)
        os.replace(self.folder / "beside", self.folder / name)

    def connect(self) -> Peer:
        self.peers.append(Peer(self.port))
        return self.peers[-1]

    def version(self) -> str:
        """Give the version that a new connection is served."""
        peer = self.connect()
        version: str = peer.result("hello")["env"]["version"]
        peer.close()
        return version

    def journal(self) -> list[str]:
        return (self.folder / "journal").read_text().splitlines()

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    served = Watched(tmp_path)
    yield served
    for peer in served.peers:
        peer.close()
    served.process.kill()
    served.process.communicate()


def settle_watch(watched: Watched) -> None:
    """Edit until the watch, which begins a moment after the port is announced, has seen one."""

    def seen() -> bool:
        watched.edit("touched.py", "")
        return "touched.py changed" in watched.stderr()

    until(seen)


def test_new_sessions_get_the_edited_version_and_others_keep_theirs(watched: Watched) -> None:
    running, waiting = watched.connect(), watched.connect()
    running.start("it")
    waiting.start("it")
    waiting.close()
    settle_watch(watched)
    watched.edit("helper.py", "VERSION = 'v2'\n")
    until(lambda: watched.version() == "v2")

    assert running.result("hello")["env"]["version"] == "v1"
    assert running.grade("x")["version"] == "v1"
    assert running.start("it") == "v1"
    fresh = watched.connect()
    assert fresh.start("it") == "v2"
    assert watched.connect().grade("x")["version"] == "v1"  # the parked one
    assert watched.journal().count("down v1") < watched.journal().count("up v1")

    running.result("bye")
    for peer in watched.peers:
        if peer is not fresh:
            peer.close()
    until(lambda: watched.journal().count("down v1") == watched.journal().count("up v1"))
    assert fresh.grade("x")["version"] == "v2"


def test_a_version_that_does_not_load_leaves_the_last_good_one(watched: Watched) -> None:
    settle_watch(watched)
    for broken, message in [
        ("VERSION = (\n", "SyntaxError"),
        ("raise SystemExit(1)\n", "the source ends the process (1)"),
        ("raise RuntimeError('half an edit')\n", "half an edit"),
        ("VERSIO = 'v2'\n", "cannot import name 'VERSION'"),
    ]:
        watched.edit("helper.py", broken)
        until(lambda message=message: message in watched.stderr())  # type: ignore[misc]
        assert watched.version() == "v1"
    assert "does not load; the last version is served on: " in watched.stderr()
    watched.edit("helper.py", "VERSION = 'v9'\n")
    until(lambda: watched.version() == "v9")


def test_a_version_whose_hook_fails_leaves_the_last_good_one(watched: Watched) -> None:
    settle_watch(watched)
    failing = SOURCE.replace(
        'write("up")', 'write("up")\n    if VERSION == "v2":\n        raise SystemExit("no daemon")'
    )
    watched.edit("env.py", failing)
    watched.edit("helper.py", "VERSION = 'v2'\n")
    until(lambda: "an initialize hook failed: SystemExit: no daemon" in watched.stderr())
    assert watched.version() == "v1"
    assert watched.journal()[-2:] == ["up v2", "down v2"]


def test_at_the_end_every_version_that_is_still_in_use_is_shut_down(watched: Watched) -> None:
    old = watched.connect()
    old.start("it")
    settle_watch(watched)
    watched.edit("helper.py", "VERSION = 'v2'\n")
    until(lambda: watched.version() == "v2")
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(10) == 143
    entries = [entry.split() for entry in watched.journal()]
    started, stopped = ([version for what, version in entries if what == name] for name in ("up", "down"))
    assert sorted(stopped) == sorted(started)
    assert set(stopped) == {"v1", "v2"}


def test_watching_without_watchfiles_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)  # what a missing package looks like to an import
    loaded: list[bool] = []

    def load() -> Environment:
        loaded.append(True)
        return Environment("never")

    with pytest.raises(UsageError) as refusal:
        serve_forever(load, port=0, watch_paths=["."], on_ready=lambda *_: None)
    assert refusal.value.message == "watching needs the package watchfiles"
    assert refusal.value.hint == "pip install watchfiles"
    assert loaded == []


def versioned(version: str, journal: list[str]) -> Environment:
    environment = Environment("versioned", version=version)

    @environment.template()
    async def it() -> Steps:
        try:
            yield version
            yield {"score": 1.0, "version": version}
        finally:
            journal.append(f"closed {version}")

    @environment.shutdown
    async def down() -> None:
        journal.append(f"down {version}")

    return environment


def test_a_replaced_environment_is_stopped_when_its_last_task_is_closed(serve: Callable[..., Channel]) -> None:
    journal: list[str] = []
    channel = serve(versioned("v1", journal), parked_ttl_s=0.1)
    expiring = channel.connect()
    expiring.start("it")
    expiring.close()
    channel.settled()
    channel.run(channel.server.replace(versioned("v2", journal)))
    until(lambda: "down v1" in journal)
    assert journal == ["closed v1", "down v1"]
    assert channel.connect().start("it") == "v2"


def test_a_replaced_environment_without_users_is_stopped_at_once(serve: Callable[..., Channel]) -> None:
    journal: list[str] = []
    channel = serve(versioned("v1", journal))
    for number in range(2, 5):
        channel.run(channel.server.replace(versioned(f"v{number}", journal)))
        until(lambda number=number: journal[-1:] == [f"down v{number - 1}"])  # type: ignore[misc]


def test_who_resumes_a_task_of_an_older_version_is_served_that_version(serve: Callable[..., Channel]) -> None:
    journal: list[str] = []
    channel = serve(versioned("v1", journal))
    owner = channel.connect()
    session_id = owner.session_id()
    owner.start("it")
    owner.close()
    channel.settled()
    channel.run(channel.server.replace(versioned("v2", journal)))
    peer = channel.connect()
    assert peer.result("hello")["env"]["version"] == "v2"
    assert peer.result("hello", {"session_id": session_id})["env"]["version"] == "v1"
    assert peer.grade("x")["version"] == "v1"
    peer.close()
    until(lambda: journal == ["closed v1", "down v1"])
