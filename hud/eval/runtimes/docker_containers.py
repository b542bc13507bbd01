"""Containers that exist: look at one, read its last lines, end it, remove it, list those with a label."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hud.errors import HudError, NotFoundError, RuntimeStartError
from hud.eval.runtimes.docker_connection import engine, translated

__all__ = [
    "ContainerState",
    "LabelledContainer",
    "kill",
    "last_lines",
    "list_labelled",
    "read_state",
    "remove",
    "state",
]


@dataclass(frozen=True)
class ContainerState:
    """What became of a container: `exit_code` and `out_of_memory` count once it is not `running`."""

    running: bool
    exit_code: int
    out_of_memory: bool
    command: tuple[str, ...]


@dataclass(frozen=True)
class LabelledContainer:
    """A row of `list_labelled`; `created_s` is in seconds since the epoch."""

    name: str
    image: str
    state: str
    created_s: float
    labels: Mapping[str, str]


def state(name: str) -> ContainerState:
    """Tell whether a container runs, and how it ended.

    Raises:
        NotFoundError: There is none of that name.
    """
    client = engine()
    with translated(container=name):
        return read_state(client.inspect_container(name))


def read_state(facts: Mapping[str, Any]) -> ContainerState:
    """Read the engine's description of a container."""
    now = facts["State"]
    command = (*(facts["Config"].get("Entrypoint") or ()), *(facts["Config"].get("Cmd") or ()))
    return ContainerState(bool(now["Running"]), int(now["ExitCode"]), bool(now.get("OOMKilled")), command)


def last_lines(name: str, *, lines: int = 20) -> str:
    """Give the last lines that a container printed; empty when there are none, or no way to read them."""
    client = engine()
    try:
        with translated(container=name):
            printed: bytes = client.logs(name, stdout=True, stderr=True, tail=lines)
    except HudError:
        return ""
    return printed.decode(errors="replace").rstrip()


def kill(name: str) -> None:
    """End a container's processes now and leave the container; nothing happens when it does not run."""
    client = engine()
    try:
        with translated(container=name):
            client.kill(name)
    except (NotFoundError, RuntimeStartError):
        return


def remove(name: str) -> None:
    """Remove a container, running or not, with its anonymous volumes; nothing happens when there is none.

    Raises:
        RuntimeStartError: The engine refused.
        UnreachableError: No engine answers.
    """
    from docker import errors

    client = engine()
    with translated(container=name):
        # `--rm` containers remove themselves: the engine answers 409 while one is going.
        for _ in range(100):
            try:
                client.remove_container(name, force=True, v=True)
            except errors.NotFound:
                return
            except errors.APIError as error:
                if error.status_code != 409:
                    raise
                time.sleep(0.1)
            else:
                return
    raise RuntimeStartError(f"container {name!r} is being removed but does not go", hint=f"docker rm -f {name}")


def list_labelled(label: str) -> list[LabelledContainer]:
    """List the containers, running or not, that carry a label."""
    client = engine()
    with translated():
        rows = client.containers(all=True, filters={"label": label})
    return [
        LabelledContainer(
            name=(row.get("Names") or [row["Id"][:12]])[0].lstrip("/"),
            image=row["Image"],
            state=row["State"],
            created_s=float(row["Created"]),
            labels=row["Labels"],
        )
        for row in rows
    ]
