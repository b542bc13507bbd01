"""A PostgreSQL server of the tests' own: on a folder and a loopback port of its own, gone with the process."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

__all__ = ["start"]

_LONGEST_START_S = 30
_LONGEST_STOP_S = 60


def start(programs: Path) -> tuple[str | None, str]:
    """Start one with the programs of a folder and give its address; None and the reason where that cannot be done."""
    folder = Path(tempfile.mkdtemp(prefix="hud-postgres-"))
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        shutil.chown(folder, user)
    made = subprocess.run(
        [
            *(str(programs / "initdb"), "--pgdata", str(folder), "--username", "hud", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        ],
        cwd=folder,
        user=user,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        return None, f"initdb: {made.stderr.strip()[-300:]}"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(str(programs / "postgres"), "-D", str(folder), "-p", str(port), "-c", "listen_addresses=127.0.0.1"),
            *("-c", f"unix_socket_directories={folder}", "-c", "fsync=off", "-c", "max_connections=200"),
        ],
        cwd=folder,
        user=user,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(_stop, server, folder)
    end = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < end and server.poll() is None:
        asked = [str(programs / "pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(port)]
        if subprocess.run(asked, check=False).returncode == 0:
            return f"postgresql://hud@127.0.0.1:{port}", ""
        time.sleep(0.1)
    return None, "PostgreSQL does not start"


def _stop(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.send_signal(signal.SIGINT)  # ends it without waiting for its clients
    server.wait(timeout=_LONGEST_STOP_S)
    shutil.rmtree(folder, ignore_errors=True)
