"""The port that `hud serve` takes and `hud task` looks at, when nobody names another."""

from __future__ import annotations

import os
import socket

from hud.errors import UsageError
from hud.wire import DEFAULT_PORT

__all__ = ["PORT_VARIABLE", "accepts", "default_port", "image_port"]

PORT_VARIABLE = "HUD_SERVE_PORT"
"""The environment variable that moves the default port, for `hud serve` and for `hud task` beside it."""

_PROBE_S = 0.25


def default_port() -> int:
    """Give the port of $HUD_SERVE_PORT, or 8765.

    Raises:
        UsageError: the variable holds no port.
    """
    text = os.environ.get(PORT_VARIABLE)
    if not text:
        return DEFAULT_PORT
    if not text.isdecimal() or int(text) > 65535:
        raise UsageError(f"${PORT_VARIABLE} is a port, got {text!r}")
    return int(text)


def accepts(port: int) -> bool:
    """Whether something listens on this machine's loopback."""
    # Not `create_connection`: it loads the codec of international names, a tenth of what a command costs.
    with socket.socket() as probe:
        probe.settimeout(_PROBE_S)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def image_port() -> int | None:
    """Give the port that this container's main process serves, or will once its hooks are done; None elsewhere.

    The main process is process 1, or a child of it where process 1 is a script; below a machine's own init anything
    may be, and nothing of it is meant.
    """
    port = _port_of("1")
    if port is not None or _read("/proc/1/comm").strip() in ("", "systemd", "init", "launchd"):
        return port
    for child in _read("/proc/1/task/1/children").split():
        if (port := _port_of(child)) is not None:
            return port
    return None


def _port_of(process: str) -> int | None:
    """Give the port of a process whose command is `hud serve`, perhaps through an init or a shell."""
    words = _read(f"/proc/{process}/cmdline").replace("\0", " ").replace(";", " ").split()
    for position, word in enumerate(words[:-1]):
        if word.rpartition("/")[2] == "hud" and words[position + 1] == "serve":
            return _port_option(words[position + 2 :])
    return None


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _port_option(words: list[str]) -> int:
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, _, attached = word.partition("=")
        value = attached or after if name in ("-p", "--port") else word[2:] if word.startswith("-p") else ""
        if value.isdecimal():
            return int(value)
    return default_port()
