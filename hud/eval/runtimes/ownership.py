"""Who owns what this machine's rollouts started: the labels, which owners still live, and what may be removed.

Every container carries the identity of the process that started it. A process that ends in order removes its own; what
is left belongs to one that was killed, or was kept on purpose by a command, and `hud cleanup` lists and removes it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hud.errors import HudError

__all__ = [
    "CREATED_LABEL",
    "KEPT_LABEL",
    "OWNER_LABEL",
    "Leftover",
    "Removal",
    "is_alive",
    "labels",
    "list_leftovers",
    "owner_label",
    "remove",
]

OWNER_LABEL = "hud.owner"
CREATED_LABEL = "hud.created"
KEPT_LABEL = "hud.kept"

_CLOCK_SLACK_S = 120.0


@dataclass(frozen=True)
class Leftover:
    """Something without a living owner.

    Attributes:
        kind: What it is.
        name: The name to remove it by.
        detail: The image of a container.
        state: "running", "exited", "created", … as the engine says.
        age_s: Seconds since it was made.
        kept: Whether a command left it on purpose (`hud task start --image`), rather than a killed process.
    """

    kind: Literal["container"]
    name: str
    detail: str
    state: str
    age_s: float
    kept: bool


@dataclass(frozen=True)
class Removal:
    """How removing one leftover went; `error` is None when it is gone."""

    leftover: Leftover
    error: HudError | None


@dataclass(frozen=True)
class _Owner:
    machine: str
    boot: str
    pid_namespace: str
    pid: int
    started: str


def owner_label() -> str:
    """Give the identity of this process: machine, boot, process namespace, process id and its start time.

    A process id alone is used again after a while, and means another process in another container or boot.
    """
    pid = os.getpid()
    return "/".join((_machine(), _boot(), _pid_namespace(), str(pid), _started(pid) or "0"))


def labels(*, kept: bool = False) -> dict[str, str]:
    """Give the labels of a container that this process starts now; `kept` when it may outlive the process."""
    marks = {OWNER_LABEL: owner_label(), CREATED_LABEL: f"{time.time():.0f}"}
    return {**marks, KEPT_LABEL: "1"} if kept else marks


def is_alive(owner: str, *, created_at_s: float | None = None) -> bool:
    """Tell whether the process behind an owner label may still live.

    Args:
        owner: A label as `owner_label` gives it.
        created_at_s: When its container was made, seconds since the epoch.

    Returns:
        True for anything that cannot be judged from here (another machine, another process namespace, an unknown
        form): what may be somebody's is never listed.
    """
    parsed = _parse(owner)
    if parsed is None or parsed.machine != _machine():
        return True
    if parsed.boot != _boot():
        # Cloned virtual machines can share a machine id and a remote engine. Only what is older than this boot can
        # have been left by an earlier one.
        return created_at_s is None or created_at_s > time.time() - _uptime_s() + _CLOCK_SLACK_S
    if parsed.pid_namespace != _pid_namespace():
        return True
    return _started(parsed.pid) == parsed.started


def list_leftovers() -> list[Leftover]:
    """Find the containers whose owner is gone, and those that a command kept, oldest first.

    Raises:
        UnreachableError: No engine answers.
    """
    from hud.eval.runtimes import docker_containers

    found: list[Leftover] = []
    now_s = time.time()
    for row in docker_containers.list_labelled(OWNER_LABEL):
        created_s = _seconds(row.labels.get(CREATED_LABEL)) or row.created_s
        kept = row.labels.get(KEPT_LABEL) == "1"
        if kept or not is_alive(row.labels[OWNER_LABEL], created_at_s=created_s):
            age_s = max(0.0, now_s - created_s)
            found.append(Leftover("container", row.name, row.image, row.state, age_s, kept))
    return sorted(found, key=lambda leftover: -leftover.age_s)


def remove(leftovers: Iterable[Leftover]) -> list[Removal]:
    """Remove each, with its anonymous volumes; one that is already gone counts as removed."""
    from hud.eval.runtimes import docker_containers

    removals: list[Removal] = []
    for leftover in leftovers:
        try:
            docker_containers.remove(leftover.name)
        except HudError as error:
            removals.append(Removal(leftover, error))
        else:
            removals.append(Removal(leftover, None))
    return removals


def _parse(owner: str) -> _Owner | None:
    parts = owner.split("/")
    if len(parts) != 5 or not parts[3].isdecimal():
        return None
    return _Owner(parts[0], parts[1], parts[2], int(parts[3]), parts[4])


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


@functools.cache
def _machine() -> str:
    """A short name for this machine: a digest, so that labels tell nobody its id. Host names change with networks."""
    identity = _read("/etc/machine-id") or _read("/var/lib/dbus/machine-id") or f"{uuid.getnode():x}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


@functools.cache
def _boot() -> str:
    text = _read("/proc/sys/kernel/random/boot_id") or _run("sysctl", "-n", "kern.bootsessionuuid")
    return text[:8].lower() or "unknown"


@functools.cache
def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return "0"


def _uptime_s() -> float:
    text = _read("/proc/uptime")
    if text:
        return float(text.split()[0])
    return time.clock_gettime(time.CLOCK_MONOTONIC) if sys.platform != "win32" else time.monotonic()


def _started(pid: int) -> str | None:
    """When a process started, in a form that only compares with itself; None when there is none."""
    if sys.platform == "linux":
        stat = _read(f"/proc/{pid}/stat")
        # The command in parentheses may itself hold blanks and parentheses: count from the last one.
        fields = stat.rpartition(")")[2].split()
        return fields[19] if len(fields) > 19 and fields[0] not in ("Z", "X") else None
    return _run("ps", "-o", "lstart=", "-p", str(pid)).replace(" ", "_") or None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
