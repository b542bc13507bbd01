"""Package agent tasks and run them anywhere: start gives a prompt, the agent works, grade gives a reward.

Names load on first use, so that `import hud` costs next to nothing.
"""

from __future__ import annotations

from hud.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hud.client import Client, connect
    from hud.environment.environment import Environment
    from hud.errors import HudError
    from hud.eval import (
        ComposeProject,
        DockerRuntime,
        Grade,
        Job,
        LocalRuntime,
        Run,
        Runtime,
        RuntimeConfig,
        RuntimeGPU,
        RuntimeLimits,
        RuntimeResources,
        RuntimeTPU,
        Shared,
        SubprocessRuntime,
        Task,
        Taskset,
        Trace,
    )
    from hud.sync.plan import SyncPlan

__all__ = [
    "Client",
    "ComposeProject",
    "DockerRuntime",
    "Environment",
    "Grade",
    "HudError",
    "Job",
    "LocalRuntime",
    "Run",
    "Runtime",
    "RuntimeConfig",
    "RuntimeGPU",
    "RuntimeLimits",
    "RuntimeResources",
    "RuntimeTPU",
    "Shared",
    "SubprocessRuntime",
    "SyncPlan",
    "Task",
    "Taskset",
    "Trace",
    "__version__",
    "connect",
]

_HOMES = {
    "Client": "hud.client",
    "Environment": "hud.environment.environment",
    "HudError": "hud.errors",
    "SyncPlan": "hud.sync.plan",
    "connect": "hud.client",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES.get(name, "hud.eval")), name)
    globals()[name] = value
    return value
