"""An S3 of the tests' own: moto's server on a loopback port, its objects in memory, gone with the process."""

from __future__ import annotations

import atexit
import importlib.util
import socket
import subprocess
import sys
import time

__all__ = ["start"]

_LONGEST_START_S = 60


def start() -> tuple[str | None, str]:
    """Start one and give its address; None and the reason where that cannot be done."""
    if any(importlib.util.find_spec(name) is None for name in ("moto", "flask")):
        return None, "no moto; pip install 'hud-cli[dev]'"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(_stop, server)
    end = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return f"http://127.0.0.1:{port}", ""
    return None, "moto's server does not start"


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(timeout=30)
