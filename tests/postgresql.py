"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, on a free port of loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cluster", "running"]

_UNPRIVILEGED = "postgres"  # the server refuses to run as root


@dataclass(frozen=True)
class Cluster:
    """A running server."""

    programs: Path
    port: int

    def new_database(self) -> str:
        """Make an empty database and give its address."""
        name = f"test_{uuid.uuid4().hex}"
        _run([self.programs / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", _UNPRIVILEGED, name])
        return f"postgresql://{_UNPRIVILEGED}@127.0.0.1:{self.port}/{name}"


@contextmanager
def running(programs: Path) -> Iterator[Cluster]:
    """Start a server and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="hud-postgresql-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _UNPRIVILEGED)
        data, log = folder / "data", folder / "log"
        _run([programs / "initdb", "-D", data, "-A", "trust", "-U", _UNPRIVILEGED, "--no-sync"])
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        _run([programs / "pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start"])
        try:
            yield Cluster(programs, port)
        finally:
            _run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder)


def _run(command: Sequence[str | Path]) -> None:
    user = pwd.getpwnam(_UNPRIVILEGED) if os.geteuid() == 0 else None
    subprocess.run(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # a pipe would stay open in the server
        check=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )
