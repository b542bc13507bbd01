"""Build secrets as files that BuildKit's client can read, and that are nowhere once the build is over."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["secret_flags"]


@contextmanager
def secret_flags(secrets: Mapping[str, str]) -> Iterator[list[str]]:
    """Give the flags of `docker build` that mount some secrets, by id.

    On Linux each is in a file of this process's memory, which is on no disk and goes with the process however that
    ends. Elsewhere it is a file that its owner alone may read, removed at the end.
    """
    with ExitStack() as stack:
        flags: list[str] = []
        for name, content in secrets.items():
            data = content.encode("utf-8", "surrogatepass")
            path = stack.enter_context(_in_memory(data) if sys.platform == "linux" else _on_disk(data))
            flags += ["--secret", f"id={name},src={path}"]
        yield flags


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("hud-secret", os.MFD_CLOEXEC)
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        # Of this process, not /proc/self: the client's plug-in, which reads it, is a process of its own.
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


@contextmanager
def _on_disk(data: bytes) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="hud-secret-") as folder:
        path = Path(folder, "secret")
        path.touch(mode=0o600)
        path.write_bytes(data)
        yield str(path)
