"""The two implementations that meet here: this project and the public SDK, each a process of its own.

The public SDK imports as `hud` too, so nothing of it is imported by a test: programs that both can run lie in
`programs/`, an environment that both can serve in `source/`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["HERE", "SETTINGS", "Done", "Party", "Server", "copy_source"]

HERE = Path(__file__).parent

SETTINGS = {
    "HUD_CLI_ANALYTICS_ENABLED": "0",
    "HUD_SKIP_VERSION_CHECK": "1",
    "HUD_TELEMETRY_ENABLED": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
    "NO_COLOR": "1",
}
"""Keeps the public SDK from the network."""

_PATIENCE_S = 50.0


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Party:
    """One implementation.

    Attributes:
        name: `ours` or `theirs`.
        python: Its interpreter; its `hud` command lies beside it.
        home: A home and working folder in which nothing of this machine's user shows.
    """

    name: str
    python: Path
    home: Path

    def variables(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "LANG", "LC_ALL", "TMPDIR") or name.startswith(("DOCKER_", "XDG_RUNTIME"))
        }
        return {**kept, **SETTINGS, "HOME": str(self.home), **(extra or {})}

    def hud(self, *words: str, cwd: Path | None = None, stdin: bytes = b"", **variables: str) -> Done:
        """Run its `hud` command."""
        return self._run([self.python.with_name("hud"), *words], cwd, stdin, variables)

    def run(self, program: str, *words: str, given: object = None) -> Any:
        """Run a program of `programs/`, hand it JSON, and give the JSON that it prints last.

        The public SDK passes on what containers and children print.
        """
        done = self._run([self.python, HERE / "programs" / program, *words], None, json.dumps(given).encode(), {})
        assert done.code == 0, f"{program} ended with {done.code} on the side of {self.name}:\n{done.err[-4000:]}"
        return json.loads(done.out.splitlines()[-1])

    def evaluate(self, code: str, *words: str) -> Any:
        """Run a line of Python with its interpreter, and give the JSON that it prints."""
        return json.loads(self._run([self.python, "-c", code, *words], None, b"", {}).out)

    def _run(self, command: list[Path | str], cwd: Path | None, stdin: bytes, variables: Mapping[str, str]) -> Done:
        done = subprocess.run(
            command,
            cwd=cwd or self.home,
            input=stdin,
            env=self.variables(variables),
            capture_output=True,
            timeout=_PATIENCE_S,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))


@dataclass
class Server:
    """An environment served by a party's `hud serve`."""

    party: Party
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        with (self.folder / "stderr.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self.party.python.with_name("hud"), "serve", "env.py", "--port", "0"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.party.variables({"INTEROP_JOURNAL": str(self.folder / "journal"), **self.variables}),
            )

    def ready(self) -> Server:
        """Wait for the line that both kinds of server print when they accept."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"HUD_SERVE_PORT="):
                self.url = f"tcp://127.0.0.1:{int(line.removeprefix(b'HUD_SERVE_PORT='))}"
                return self
        pytest.fail(f"the server of {self.party.name} did not start:\n{self.log()}", pytrace=False)

    def log(self) -> str:
        return (self.folder / "stderr.log").read_text(errors="replace")

    def journal(self) -> list[str]:
        """What templates and hooks noted, in order."""
        return (self.folder / "journal").read_text().splitlines()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and give its exit code."""
        self._process.send_signal(number)
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        return self._process.returncode


def copy_source(folder: Path) -> Path:
    """Copy the common environment and its rows."""
    shutil.copytree(HERE / "source", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
