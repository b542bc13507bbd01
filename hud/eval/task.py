"""A task row: which template of which environment, with which arguments. Pure data that files and platforms carry.

Written out by hand: it is loaded by `hud task list`, where importing `dataclasses` would double the cost.
"""

from __future__ import annotations

import json

from hud.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from hud.environment.environment import Environment
    from hud.eval.config import RuntimeConfig
    from hud.eval.job import Job
    from hud.eval.run import Run
    from hud.eval.runtimes import Provider

__all__ = ["Task", "default_slug"]

_FIELDS = ("env", "id", "args", "slug", "validation", "agent_config", "columns", "runtime_config", "verifier")


class Task:
    """One row of a taskset; every assignment is checked.

    Attributes:
        env: Name of the environment it belongs to.
        id: Id of the template in that environment.
        args: The template's arguments, JSON values; defaults stay with the template.
        slug: Unique in a taskset. By default the id, with a digest of the arguments when there are any.
        validation: Recorded calls that should solve the task.
        agent_config: Overrides for the agent on this task, such as `max_steps` or `timeout_seconds`.
        columns: The author's own metadata, shown as columns.
        runtime_config: The image, resources and limits this row asks for.
        verifier: A row without an agent whose grade replaces this one's; it has no verifier of its own.
    """

    __slots__ = (*_FIELDS, "environment")

    env: str
    id: str
    args: dict[str, Any]
    slug: str
    validation: list[dict[str, Any]] | None
    agent_config: dict[str, Any] | None
    columns: dict[str, Any] | None
    runtime_config: RuntimeConfig | None
    verifier: Task | None
    environment: Environment | None
    """The live environment a template call came from; it does not travel."""

    def __init__(
        self,
        env: str,
        id: str,
        args: Mapping[str, Any] | None = None,
        *,
        slug: str | None = None,
        validation: list[dict[str, Any]] | None = None,
        agent_config: dict[str, Any] | None = None,
        columns: dict[str, Any] | None = None,
        runtime_config: RuntimeConfig | Mapping[str, Any] | None = None,
        verifier: Task | None = None,
        environment: Environment | None = None,
    ) -> None:
        self.env = env
        self.id = id
        self.args = {} if args is None else args  # type: ignore[assignment]  # checked in __setattr__
        self.slug = default_slug(id, self.args) if slug is None else slug
        self.validation = validation
        self.agent_config = agent_config
        self.columns = columns
        self.runtime_config = runtime_config  # type: ignore[assignment]  # a mapping is read in __setattr__
        self.verifier = verifier
        self.environment = environment

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("env", "id", "slug") and (not isinstance(value, str) or not value):
            raise UsageError(f"a task's {name} is a non-empty string, got {value!r}")
        if name in ("args", "agent_config", "columns") and value is not None:
            if not hasattr(value, "keys"):
                raise UsageError(f"a task's {name} is an object, got {type(value).__name__}")
            value = dict(value)
            for key in value:
                if not isinstance(key, str):
                    raise UsageError(f"a task's {name} has the key {key!r}, which is no string")
        if name == "validation" and value is not None:
            if not isinstance(value, list):
                raise UsageError(f"a task's validation is a list of calls, got {type(value).__name__}")
            for call in value:
                if not hasattr(call, "keys"):
                    raise UsageError(f"a task's validation is a list of objects, with a {type(call).__name__} in it")
        if name == "runtime_config" and value is not None:
            from hud.eval.config import RuntimeConfig

            if hasattr(value, "keys"):
                value = RuntimeConfig.from_dict(value)
            elif not isinstance(value, RuntimeConfig):
                raise UsageError(f"a task's runtime_config is an object, got {type(value).__name__}")
        if name == "verifier" and value is not None:
            if not isinstance(value, Task):
                raise UsageError(f"a task's verifier is a task, got {type(value).__name__}")
            if value.verifier is not None:
                raise UsageError(f"the verifier of task {self.slug!r} has a verifier of its own")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Task(env={self.env!r}, id={self.id!r}, args={self.args!r}, slug={self.slug!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.to_row() == other.to_row()

    __hash__ = None  # type: ignore[assignment]  # rows are mutable

    def __copy__(self) -> Task:
        return Task(**{name: getattr(self, name) for name in _FIELDS}, environment=self.environment)

    def __deepcopy__(self, memo: dict[int, Any]) -> Task:
        from copy import deepcopy

        fields = {name: deepcopy(getattr(self, name), memo) for name in _FIELDS}
        return Task(**fields, environment=self.environment)  # a copy of a row runs on the same environment

    def __reduce__(self) -> tuple[Callable[[Mapping[str, Any]], Task], tuple[dict[str, Any]]]:
        return Task.from_row, (self.to_row(),)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Task:
        """Read a row of a task file or a platform.

        Raises:
            UsageError: a field is missing or of the wrong type. One that is unknown gives a warning.
        """
        if not hasattr(row, "keys"):
            raise UsageError(f"a task row is an object, got {type(row).__name__}")
        fields = dict(row)
        if hasattr(fields.get("env"), "keys"):
            fields["env"] = fields["env"].get("name")
        unknown = [key for key in fields if key not in _FIELDS]
        if unknown:  # files of other clients may carry more than we know
            import warnings

            warnings.warn(f"a task row has no field {unknown[0]!r}: it is ignored", stacklevel=2)
            fields = {key: value for key, value in fields.items() if key in _FIELDS}
        for name in ("env", "id"):
            if name not in fields:
                raise UsageError(f"a task row needs {name!r}: {_shorten(row)}")
        verifier = fields.get("verifier")
        if verifier is not None:
            if not hasattr(verifier, "keys"):
                raise UsageError(f"a task's verifier is an object, got {type(verifier).__name__}")
            fields["verifier"] = cls.from_row(verifier)
        return cls(**fields)

    def to_row(self) -> dict[str, Any]:
        """Give the row as task files hold it; fields that were not set are left out."""
        row: dict[str, Any] = {"env": self.env, "id": self.id, "args": self.args, "slug": self.slug}
        for name in ("validation", "agent_config", "columns"):
            if (value := getattr(self, name)) is not None:
                row[name] = value
        if self.runtime_config is not None:
            row["runtime_config"] = self.runtime_config.to_dict()
        if self.verifier is not None:
            row["verifier"] = self.verifier.to_row()
        return row

    async def run(
        self,
        agent: Callable[[Run], Awaitable[object]],
        *,
        runtime: Provider | None = None,
        group: int | None = None,
        max_concurrent: int | None = None,
        job: Job | None = None,
        rollout_timeout: float | None = None,
    ) -> Job:
        """Run an agent on this row; see `Taskset.run`."""
        from hud.eval.taskset import Taskset

        return await Taskset(self.id, [self]).run(
            agent,
            runtime=runtime,
            group=group,
            max_concurrent=max_concurrent,
            job=job,
            rollout_timeout=rollout_timeout,
        )


def default_slug(task_id: str, args: Mapping[str, Any]) -> str:
    """Name a row by its template and a digest of its arguments, bit for bit as every HUD client does.

    Source: command-line and SDK specification, section 7 (SHA-1 of the key-sorted JSON, first 8 hexadecimal digits).
    """
    if not args:
        return task_id
    try:
        from _sha1 import sha1  # type: ignore[import-not-found]  # `hashlib` would load OpenSSL, a quarter of what `hud task list` may cost
    except ImportError:
        from hashlib import sha1
    try:
        text = json.dumps(args, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the arguments of task {task_id!r} have no JSON form: {error}") from error
    return f"{task_id}-{sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]}"


def _shorten(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
