"""A served child for the length of one command: `hud task` without an environment to attach to."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time

from hud.environment.source import source_folder
from hud.errors import DeadlineError, RuntimeStartError
from hud.wire import TOKEN_VARIABLE
from hud_cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

__all__ = ["Child"]

_READY_PREFIX = b"HUD_SERVE_PORT="
_STOP_LIMIT_S = 10.0
_NOTICE_S = 1.0


class Child:
    """A process that serves a source on a port and with a token of its own.

    It is tied to this one by its standard input: whatever ends the command ends the child too.

    Attributes:
        url: Where it is served.
        token: What its channel asks for, so that no other user of the machine can take part.
    """

    def __init__(self, source: str, *, env: str | None, timeout_s: float) -> None:
        """Start it and wait until it accepts.

        Args:
            source: What rows were read from; a JSON file stands for its folder.
            env: The environment's name, for a source that declares several.

        Raises:
            RuntimeStartError: it ended before it was ready.
            DeadlineError: it was not ready within `timeout_s`.
        """
        self.token = os.urandom(16).hex()
        path = os.path.abspath(source_folder(source) if source.endswith((".json", ".jsonl")) else source)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hud.environment.server", path, "--lifeline", *(["--env", env] if env else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=source_folder(path),
            env=_variables(self.token),
            start_new_session=True,  # Ctrl-C is ours to hear; the child is stopped in order
        )
        try:
            self.url = f"tcp://127.0.0.1:{self._port(timeout_s)}"
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it in order; after ten seconds, with everything it started."""
        process = self._process
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            from hud.eval.runtimes.lifeline import kill_group

            kill_group(process.pid)
            process.wait()

    def _port(self, timeout_s: float) -> int:
        """Read up to the readiness line; what else it prints goes to stderr, then and later."""
        stream = self._process.stdout
        assert stream is not None
        begun = time.monotonic()
        told = False
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                elapsed = time.monotonic() - begun
                if elapsed >= timeout_s:
                    raise DeadlineError(
                        f"the environment was not ready within {timeout_s:g} s", hint="--timeout SECONDS gives it more"
                    )
                if not told and elapsed >= _NOTICE_S:
                    output.note("Waiting for the environment to start…")
                    told = True
                if not selector.select(min(timeout_s - elapsed, _NOTICE_S if told else _NOTICE_S - elapsed)):
                    continue
                chunk = os.read(stream.fileno(), 1 << 16)
                if not chunk:
                    code = self._process.wait()
                    raise RuntimeStartError(
                        f"the environment ended with exit code {code} before it was ready",
                        hint="what it said is above; `hud serve` runs it alone",
                    )
                *lines, pending = (pending + chunk).split(b"\n")
                for number, line in enumerate(lines):
                    if line.startswith(_READY_PREFIX):
                        rest = b"\n".join([*lines[number + 1 :], pending])
                        threading.Thread(target=_pass_on, args=(stream, rest), daemon=True).start()
                        return int(line.removeprefix(_READY_PREFIX))
                    output.note(line.decode(errors="replace"))


def _pass_on(stream: IO[bytes], rest: bytes) -> None:
    """Move a child's later output to stderr: an unread pipe would stop it when full."""
    while rest or (rest := os.read(stream.fileno(), 1 << 16)):
        os.write(2, rest)
        rest = b""


def _variables(token: str) -> dict[str, str]:
    """Give the child's variables: ours, with this package importable even where it is not installed."""
    package_folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [package_folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), TOKEN_VARIABLE: token}
