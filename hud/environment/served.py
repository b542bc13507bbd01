"""One load of an environment, as a control channel serves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hud.environment.environment import Environment
from hud.wire import INVALID_PARAMS, TASK_ERROR, encode

__all__ = ["Served"]


class Served:
    """One load of an environment, and the replies that depend on nothing else.

    Attributes:
        users: Sessions and parked tasks that stand on it; when a newer load has taken its place and the last user
            is gone, it is stopped.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.users = 0
        self.on_unused: Callable[[], None] | None = None
        self._revision = -1
        self._identity = ""
        self._tasks: str | None = None

    def leave(self) -> None:
        """Give up one use."""
        self.users -= 1
        if self.users == 0 and self.on_unused is not None:
            self.on_unused()

    def identity_json(self) -> str:
        """Give the part of the `hello` result that is the same for all sessions: `env` and `bindings`."""
        self._refresh()
        return self._identity

    def tasks_json(self) -> str:
        """Give the `tasks.list` result."""
        self._refresh()
        if self._tasks is None:
            rows = [template.row() for template in self.environment.templates.values()]
            self._tasks = encode({"tasks": rows})
        return self._tasks

    def _refresh(self) -> None:
        environment = self.environment
        if self._revision == environment.revision:
            return
        self._revision = environment.revision
        self._tasks = None
        env = {"name": environment.name, "version": environment.version}
        bindings = [capability.to_manifest() for capability in environment.capabilities]
        self._identity = encode({"env": env, "bindings": bindings})[1:-1]

    def refuse_lists(self, params: dict[str, Any]) -> tuple[int, str] | None:
        """Check the lists that only sandboxed workspaces can honour; give code and message of a refusal.

        Source: protocol specification, section 4.1. They are checked before a session is resumed, so a refused
        hello changes nothing.
        """
        for key, reason in (
            ("workspace_routes", "requires an isolated network"),
            ("connections", "does not support process-bound connections"),
        ):
            rows = params.get(key, [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                return INVALID_PARAMS, f"hello: '{key}' must be a list of objects"
            for row in rows:
                name = row.get("capability")
                if not isinstance(name, str):
                    return INVALID_PARAMS, f"hello: each of '{key}' needs a 'capability'"
                known = any(capability.name == name for capability in self.environment.capabilities)
                return TASK_ERROR, f"workspace capability '{name}' " + (reason if known else "does not exist")
        return None
