"""Choose GPUs by their model, which the engine itself does not know of."""

from __future__ import annotations

import functools
import subprocess

from hud.errors import UsageError
from hud.eval.config import RuntimeGPU

__all__ = ["ids_of"]

_QUERY = ("nvidia-smi", "--query-gpu=index,name", "--format=csv,noheader")


def ids_of(gpu: RuntimeGPU | None) -> tuple[str, ...]:
    """Give the ids of as many GPUs of a wanted model as are asked for; empty when any model will do.

    Raises:
        UsageError: This machine has too few of that model, or none that can be seen.
    """
    if gpu is None or not gpu.types:
        return ()
    names = _names()
    found = [number for number, name in names if any(wanted.lower() in name.lower() for wanted in gpu.types)]
    if len(found) < gpu.count:
        there = ", ".join(name for _, name in names) or "none that nvidia-smi shows"
        raise UsageError(
            f"DockerRuntime cannot honour runtime_config.resources.gpu: {gpu.count} of {' or '.join(gpu.types)}"
            f" asked for, this machine has {there}"
        )
    return tuple(found[: gpu.count])


@functools.cache
def _names() -> list[tuple[str, str]]:
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.partition(",") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [(number.strip(), name.strip()) for number, _, name in rows]
