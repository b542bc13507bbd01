"""The port that `hud serve` takes and `hud task` looks at, when nobody names another."""

from __future__ import annotations

import os

from hud.errors import UsageError
from hud.wire import DEFAULT_PORT

__all__ = ["PORT_VARIABLE", "default_port"]

PORT_VARIABLE = "HUD_SERVE_PORT"


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
