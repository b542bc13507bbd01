"""Running tasks: rows, tasksets, runtimes, jobs and runs. Names load on first use."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hud.eval.config import (
        ComposeProject,
        RuntimeConfig,
        RuntimeGPU,
        RuntimeLimits,
        RuntimeResources,
        RuntimeTPU,
    )
    from hud.eval.drive import rollout
    from hud.eval.job import Job
    from hud.eval.run import Grade, Run, Step, Trace
    from hud.eval.runtimes import Provider, Runtime
    from hud.eval.runtimes.docker import DockerRuntime
    from hud.eval.runtimes.local import LocalRuntime
    from hud.eval.runtimes.process import SubprocessRuntime
    from hud.eval.runtimes.shared import Shared
    from hud.eval.task import Task
    from hud.eval.taskset import Taskset
    from hud.sync.plan import SyncPlan

__all__ = [
    "ComposeProject",
    "DockerRuntime",
    "Grade",
    "Job",
    "LocalRuntime",
    "Provider",
    "Run",
    "Runtime",
    "RuntimeConfig",
    "RuntimeGPU",
    "RuntimeLimits",
    "RuntimeResources",
    "RuntimeTPU",
    "Shared",
    "Step",
    "SubprocessRuntime",
    "SyncPlan",
    "Task",
    "Taskset",
    "Trace",
    "rollout",
]

_HOMES = {
    "ComposeProject": "hud.eval.config",
    "DockerRuntime": "hud.eval.runtimes.docker",
    "Grade": "hud.eval.run",
    "Job": "hud.eval.job",
    "LocalRuntime": "hud.eval.runtimes.local",
    "Provider": "hud.eval.runtimes",
    "Run": "hud.eval.run",
    "Runtime": "hud.eval.runtimes",
    "RuntimeConfig": "hud.eval.config",
    "RuntimeGPU": "hud.eval.config",
    "RuntimeLimits": "hud.eval.config",
    "RuntimeResources": "hud.eval.config",
    "RuntimeTPU": "hud.eval.config",
    "Shared": "hud.eval.runtimes.shared",
    "Step": "hud.eval.run",
    "SubprocessRuntime": "hud.eval.runtimes.process",
    "SyncPlan": "hud.sync.plan",
    "Task": "hud.eval.task",
    "Taskset": "hud.eval.taskset",
    "Trace": "hud.eval.run",
    "rollout": "hud.eval.drive",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
