"""`hud deploy` from its start to the start of the build, beside the public client's against the same platform.

Ten thousand small files of which one has changed since, and one large file that does not compress. A build counts as
started when the platform runs `docker build`: the context has arrived and lies in a folder. It is cancelled then.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.context import project
from benchmarks.measure import Command, Figure, in_turns, quick_asked, report, run
from benchmarks.parts import HUD, LOCAL_ENVIRONMENT, base_image, docker_client, peer, say

_ADDRESSES = ("HUD_API_URL", "HUD_WEB_URL", "HUD_TELEMETRY_URL", "HUD_RUNTIME_URL", "HUD_GATEWAY_URL", "HUD_RL_URL")
_STARTED = '"message":"Building the image"'
_PIECE_BYTES = 2**20
_MANIFEST_LIMIT_BYTES = 2 * 2**20
_MEMORY_LIMIT_MIB = 64
_CHANGED_BYTES = 2_000
_AGAIN_LIMIT_S = 1.5
_LONGEST_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Started:
    """What a deploy took until its build started: seconds, and the most memory that the command had by then."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A running platform."""

    url: str
    key: str
    pid: int
    data: Path
    home: Path

    def deploy(self, hud: Path, folder: Path, *, url: str | None = None) -> Started:
        """Run a client's `hud deploy`, give what it took until its build started, and cancel that.

        Args:
            url: Where the client finds the platform, when not at its own address.
        """
        log = self.home / "said"
        seen = set(self._builds.glob("*/log.jsonl"))
        begun_s = time.time()
        with log.open("wb") as said, _running(_command(hud, folder), self._environment(url), said) as client:
            while True:
                found = next((path for path in self._builds.glob("*/log.jsonl") if path not in seen), None)
                started_s = None if found is None else _started_s(found)
                if found is not None and started_s is not None:
                    break
                if client.poll() is not None or time.time() - begun_s > _LONGEST_S:
                    raise RuntimeError(f"{hud} did not come to a build:\n{log.read_text()[-2000:]}")
                time.sleep(0.02)
            peak = _most_memory_bytes(client.pid)
            self._end(found.parent.name)
        return Started(seconds=started_s - begun_s, peak_bytes=peak)

    @property
    def _builds(self) -> Path:
        return self.data / "builds"

    def _environment(self, url: str | None) -> dict[str, str]:
        addresses = dict.fromkeys(_ADDRESSES, url or self.url)
        return {**LOCAL_ENVIRONMENT, **addresses, "HUD_API_KEY": self.key, "HOME": str(self.home)}

    def _end(self, build_id: str) -> None:
        """Cancel a build and wait for its end, so that nothing of it disturbs the next."""
        with httpx.Client(base_url=f"{self.url}/v2/builds/{build_id}") as client:
            client.headers["Authorization"] = f"Bearer {self.key}"
            client.post("/cancel").raise_for_status()
            while client.get("/status").raise_for_status().json()["status"] in ("IN_PROGRESS", "CANCELLING"):
                time.sleep(0.05)


def main() -> None:
    quick = quick_asked(__doc__)
    if docker_client() is None:
        say("deploy: without a Docker engine no build begins")
        return
    python = peer()
    if python is None:
        say("without the public SDK, no comparison with it: scripts/peer-sdk")
    clients = {"ours": HUD, **({} if python is None else {"peer": python.with_name("hud")})}
    _small_files(clients, count=2_000 if quick else 10_000, repeats=2 if quick else 5)
    # Of that size in a quick run too: of a smaller file, starting the command would be most of the time.
    _large_file(clients, size_bytes=2**30, repeats=1 if quick else 3)


# Many small files, of which one changed


def _small_files(clients: Mapping[str, Path], *, count: int, repeats: int) -> None:
    with _platform() as platform, project(count) as ours, project(count) as theirs:
        folders = {side: _named(folder) for side, folder in zip(clients, (ours, theirs), strict=False)}
        first = {side: platform.deploy(hud, folders[side]) for side, hud in clients.items()}

        def again_s(side: str) -> float:
            _change(folders[side])
            return platform.deploy(clients[side], folders[side]).seconds

        again = in_turns({side: partial(again_s, side) for side in clients}, repeats=repeats)
        sent = {side: _sent_bytes(platform, clients[side], folders[side]) for side in clients}
    for name, seconds in (("first", {side: one.seconds for side, one in first.items()}), ("second", _best(again))):
        if "peer" in seconds:
            report(
                Figure(
                    name=f"the {name} `hud deploy` of {count:,} files to the start of its build",
                    unit="s",
                    ours=seconds["ours"],
                    against="the public client",
                    reference=seconds["peer"],
                    bound="at least",
                    target=5.0 if name == "second" else None,
                )
            )
    report(
        Figure(
            name=f"bytes that it sends when one of {count:,} files changed",
            unit="MB",
            ours=sent["ours"] / 1e6,
            against="the file and 2 MB of manifest",
            reference=(_MANIFEST_LIMIT_BYTES + _CHANGED_BYTES) / 1e6,
            target=1.0,
            peer=sent["peer"] / 1e6 if "peer" in sent else None,
        )
    )


def _change(folder: Path) -> None:
    path = next(folder.glob("package00/module00/part*"))
    path.write_text(f"{secrets.token_hex(_CHANGED_BYTES // 2)}")


def _sent_bytes(platform: Platform, hud: Path, folder: Path) -> int:
    _change(folder)
    shutil.rmtree(folder / ".hud")  # its link is to the platform's own address
    with _counting(platform.url) as proxy:
        platform.deploy(hud, folder, url=proxy.url)
    return proxy.sent_bytes


# One large file


def _large_file(clients: Mapping[str, Path], *, size_bytes: int, repeats: int) -> None:
    found: dict[str, list[_Large]] = {side: [] for side in clients}
    for _ in range(repeats):
        for side, hud in clients.items():
            found[side].append(_large(hud, size_bytes, agains=0 if side == "peer" else 3))
    ours, theirs = found["ours"], found.get("peer")
    name = f"`hud deploy` of one file of {size_bytes / 2**30:g} GiB"
    if theirs:
        report(
            Figure(
                name=f"the first {name} to the start of its build",
                unit="s",
                ours=min(one.first.seconds for one in ours),
                against="the public client",
                reference=min(one.first.seconds for one in theirs),
                bound="at least",
                target=8.0,
            )
        )
    report(
        Figure(
            name=f"the second {name} to the start of its build",
            unit="s",
            ours=min(seconds for one in ours for seconds in one.again_s),
            against="the limit",
            reference=_AGAIN_LIMIT_S,
            target=1.0,
        )
    )
    report(
        Figure(
            name=f"memory of {name} over one of nothing",
            unit="MiB",
            ours=max(one.grown_bytes for one in ours) / 2**20,
            against="the limit",
            reference=_MEMORY_LIMIT_MIB,
            target=1.0,
            peer=max(one.grown_bytes for one in theirs) / 2**20 if theirs else None,
        )
    )
    report(
        Figure(
            name="memory that the platform takes to receive that file",
            unit="MiB",
            ours=max(one.platform_grown_bytes for one in ours) / 2**20,
            against="a client's limit",
            reference=_MEMORY_LIMIT_MIB,
            peer=max(one.platform_grown_bytes for one in theirs) / 2**20 if theirs else None,
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Large:
    """What one client did with a large file: the first time, again, and in memory beyond a deploy of nothing."""

    first: Started
    again_s: list[float]
    grown_bytes: int
    platform_grown_bytes: int


def _large(hud: Path, size_bytes: int, *, agains: int) -> _Large:
    # A platform of its own each time: it has nothing of the file, and the disk is free again.
    with _platform() as platform, tempfile.TemporaryDirectory(prefix="hud-figures-") as parent:
        folder = _named(Path(parent))
        idle = platform.deploy(hud, folder)
        _write_noise(folder / "weights", size_bytes)
        before = _most_memory_bytes(platform.pid)
        first = platform.deploy(hud, folder)
        platform_grown = _most_memory_bytes(platform.pid) - before
        os.sync()
        return _Large(
            first=first,
            again_s=[platform.deploy(hud, folder).seconds for _ in range(agains)],
            grown_bytes=first.peak_bytes - idle.peak_bytes,
            platform_grown_bytes=platform_grown,
        )


def _write_noise(path: Path, size_bytes: int) -> None:
    chance = random.Random(secrets.randbits(64))
    with path.open("wb") as file:
        for _ in range(size_bytes // _PIECE_BYTES):
            file.write(chance.randbytes(_PIECE_BYTES))
    os.sync()  # or the disk would be busy with it in one side's time


# Folders, clients, platforms


def _named(folder: Path) -> Path:
    """Give a folder an environment of its own and a build that is soon done."""
    name = f"figures-{secrets.token_hex(4)}"
    (folder / "env.py").write_text(f'from hud import Environment\n\nenv = Environment("{name}")\n')
    (folder / "Dockerfile").write_text(f'FROM {base_image()}\nCOPY env.py .\nCMD ["hud", "serve", "env.py"]\n')
    return folder


def _command(hud: Path, folder: Path) -> Command:
    return [hud, "deploy", folder, "--yes", "--no-env"]


@contextmanager
def _running(command: Command, env: Mapping[str, str], said: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as client:  # type: ignore[call-overload]
        try:
            yield client
            client.wait(30)
        finally:
            client.kill()


def _started_s(log: Path) -> float | None:
    """Give when a build started, None as long as its log does not say so."""
    for line in log.read_text().splitlines():
        if _STARTED in line:
            return float(json.loads(line)["timestamp"]) / 1000
    return None


def _most_memory_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def _best(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {side: min(values) for side, values in seconds.items()}


@contextmanager
def _platform() -> Iterator[Platform]:
    """Run a platform in a folder of its own, and remove what its builds left in the engine."""
    client = docker_client()
    assert client is not None
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as home:
        data = Path(home) / "platform"
        command: Command = [HUD, "platform", "up", "--json", "--no-settings", "--port", "0", "--data", data]
        path = f"{Path(client).parent}:{LOCAL_ENVIRONMENT['PATH']}"
        environment = {**LOCAL_ENVIRONMENT, "HOME": home, "PATH": path}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                ready = json.loads(process.stdout.readline())
                yield Platform(url=ready["url"], key=ready["key"], pid=ready["pid"], data=data, home=Path(home))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
        made = run([client, "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=hud.environment"])
        ours = [image for image in made.split() if image.startswith("hud/figures-")]
        if ours:
            run([client, "rmi", "--force", *ours])


@dataclass
class _Proxy:
    """Hands bytes to a server and back, and counts what clients send."""

    url: str
    sent_bytes: int = 0


@contextmanager
def _counting(url: str) -> Iterator[_Proxy]:
    address = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = _Proxy(url=f"http://127.0.0.1:{listener.getsockname()[1]}")

        def hand_on(source: socket.socket, target: socket.socket, *, counted: bool) -> None:
            with suppress(OSError):
                while piece := source.recv(_PIECE_BYTES):
                    if counted:
                        proxy.sent_bytes += len(piece)
                    target.sendall(piece)
                target.shutdown(socket.SHUT_WR)

        def accept() -> None:
            with suppress(OSError):  # the listener is closed
                while True:
                    client = listener.accept()[0]
                    server = socket.create_connection((address.hostname or "", address.port or 0))
                    for source, target, counted in ((client, server, True), (server, client, False)):
                        work = partial(hand_on, source, target, counted=counted)
                        threading.Thread(target=work, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
