"""The local container engine, for the Docker runtime and for commands: blocking functions over the `docker` SDK.

The parts are in `docker_connection`, `docker_launch`, `docker_containers` and `docker_exec`; this is their one address.
The runtime calls them in threads; `hud task --image`, `hud doctor` and `hud cleanup` call them as they are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from hud.eval.runtimes.docker_connection import Endpoint, build_client, disconnect, endpoint, engine, translated
from hud.eval.runtimes.docker_containers import (
    ContainerState,
    LabelledContainer,
    kill,
    last_lines,
    list_labelled,
    remove,
    state,
)
from hud.eval.runtimes.docker_exec import ExecResult, exec_in
from hud.eval.runtimes.docker_launch import ContainerSpec, Started, container_name, launch, run_detached

__all__ = [
    "ContainerSpec",
    "ContainerState",
    "Endpoint",
    "EngineInfo",
    "ExecResult",
    "LabelledContainer",
    "Started",
    "build_client",
    "container_name",
    "disconnect",
    "endpoint",
    "engine",
    "engine_info",
    "exec_in",
    "kill",
    "last_lines",
    "launch",
    "list_labelled",
    "remove",
    "run_detached",
    "state",
]


@dataclass(frozen=True)
class EngineInfo:
    """What `hud doctor` shows of the engine; `free_bytes` is None where its disk cannot be seen from here."""

    endpoint: Endpoint
    version: str
    api_version: str
    operating_system: str
    platform: str
    cpus: int
    memory_bytes: int
    storage_driver: str
    root_folder: str
    free_bytes: int | None
    cgroup_version: str
    rootless: bool


def engine_info() -> EngineInfo:
    """Describe the engine.

    Raises:
        UnreachableError: No engine answers.
    """
    client, where = engine(), endpoint()
    with translated():
        facts = client.info()
        version = client.version()
    root = str(facts.get("DockerRootDir") or "")
    free_bytes: int | None = None
    if where.is_local and root and os.path.isdir(root):
        disk = os.statvfs(root)
        free_bytes = disk.f_bavail * disk.f_frsize
    return EngineInfo(
        endpoint=where,
        version=str(version.get("Version", "")),
        api_version=str(version.get("ApiVersion", "")),
        operating_system=str(facts.get("OperatingSystem", "")),
        platform=f"{facts.get('OSType', '')}/{facts.get('Architecture', '')}",
        cpus=int(facts.get("NCPU") or 0),
        memory_bytes=int(facts.get("MemTotal") or 0),
        storage_driver=str(facts.get("Driver", "")),
        root_folder=root,
        free_bytes=free_bytes,
        cgroup_version=str(facts.get("CgroupVersion") or ""),
        rootless=any("rootless" in option for option in facts.get("SecurityOptions") or ()),
    )
