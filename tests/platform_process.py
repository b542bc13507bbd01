"""A platform as users run it: a process of its own, on a folder and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

__all__ = ["PlatformProcess"]

_LONGEST_START_S = 60
_LONGEST_STOP_S = 30


@dataclass
class PlatformProcess:
    """A running platform.

    Attributes:
        data: Its data folder.
        home: The home folder of its process.
        words: What `hud platform up` was given besides.
    """

    data: Path
    home: Path
    words: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    url: str = ""
    key: str | None = None
    clients: list[httpx.Client] = field(default_factory=list)
    client: httpx.Client = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def settings(self) -> dict[str, str]:
        """The variables that point a client here, the public SDK's too."""
        services = ("API", "WEB", "RUNTIME", "GATEWAY", "RL")
        addresses = {f"HUD_{service}_URL": self.url for service in services}
        return {**addresses, "HUD_TELEMETRY_URL": f"{self.url}/v3/api", "HUD_API_KEY": self.key or ""}

    def start(self) -> PlatformProcess:
        """Start it, or start it again on the same folder, and wait until it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUD_")}
        with (self.home / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "hud_cli", "platform", "up", "--data", str(self.data), "--json"),
                    *("--no-settings", *(() if "--port" in self.words else ("--port", "0")), *self.words),
                ],
                env={**kept, "HOME": str(self.home), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(b'{"url"'):
            rest = line + self.process.communicate(timeout=_LONGEST_START_S)[0]
            pytest.fail(f"the platform did not start: {rest.decode()}\n{self.stderr()}", pytrace=False)
        document = json.loads(line)
        self.url, self.key = document["url"], document["key"]
        self.client = self.as_key(self.key)
        return self

    def as_key(self, key: str | None) -> httpx.Client:
        """Give a client that sends this key, or none when it is empty; closed with the platform."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        self.clients.append(client)
        return client

    def mint(self, scope: str, *, name: str = "test") -> str:
        """Make a key of a scope and give it."""
        reply = self.client.post("/v2/keys", json={"name": name, "scope": scope})
        assert reply.status_code == 201, reply.text
        key: str = reply.json()["key"]
        return key

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and give the exit code."""
        while self.clients:
            self.clients.pop().close()
        self.process.send_signal(number)
        self.process.communicate(timeout=_LONGEST_STOP_S)
        return self.process.returncode

    def close(self) -> None:
        """End it, however it stands."""
        if hasattr(self, "process") and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.stop(signal.SIGKILL)

    def stderr(self) -> str:
        return (self.home / "stderr").read_text(errors="replace")

    def log(self) -> str:
        return (self.data / "server.log").read_text(errors="replace")
