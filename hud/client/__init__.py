"""The driving side of the control channel."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hud.client.client import Client, connect
    from hud.errors import HudProtocolError

__all__ = ["Client", "HudProtocolError", "connect"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("hud.errors" if name == "HudProtocolError" else "hud.client.client"), name)
    globals()[name] = value
    return value
