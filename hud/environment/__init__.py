"""Declare an environment and serve it. Standard library only; names load on first use."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hud.capabilities import Capability
    from hud.environment.answer import Answer
    from hud.environment.environment import Environment
    from hud.environment.hints import DataFileArg, DataFileRef, DataFilesArg, GradingArg, PromptArg
    from hud.environment.source import load_environment

__all__ = [
    "Answer",
    "Capability",
    "DataFileArg",
    "DataFileRef",
    "DataFilesArg",
    "Environment",
    "GradingArg",
    "PromptArg",
    "load_environment",
]

_HOMES = {
    "Answer": "hud.environment.answer",
    "Capability": "hud.capabilities",
    "DataFileArg": "hud.environment.hints",
    "DataFileRef": "hud.environment.hints",
    "DataFilesArg": "hud.environment.hints",
    "Environment": "hud.environment.environment",
    "GradingArg": "hud.environment.hints",
    "PromptArg": "hud.environment.hints",
    "load_environment": "hud.environment.source",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
