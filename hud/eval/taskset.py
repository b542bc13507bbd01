"""Rows that belong together, and running an agent on all of them."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hud.environment.source import refuse_while_importing
from hud.errors import UsageError
from hud.eval.drive import Agent, rollout
from hud.eval.job import Job, new_id
from hud.eval.runtimes import Provider, Runtime, opened
from hud.eval.task import Task
from hud.eval.termination import sigterm_cancels

if TYPE_CHECKING:
    from hud.eval.run import Run
    from hud.platform.records import TaskRecord

__all__ = ["Taskset"]


class Taskset:
    """An ordered set of rows with distinct slugs.

    Attributes:
        name: For people, and for the job's name.
        taskset_id: The platform's id, when it came from there.
    """

    def __init__(self, name: str | None = None, tasks: Iterable[Task] = (), *, taskset_id: str | None = None) -> None:
        if name is not None and not isinstance(name, str):
            raise UsageError(f"the name of a taskset is text, got a {type(name).__name__}", hint="Taskset(name, tasks)")
        self.name = name or "taskset"
        self.taskset_id = taskset_id
        self._tasks: dict[str, Task] = {}
        for task in tasks:
            if self._tasks.setdefault(task.slug, task) is not task:
                raise UsageError(f"two tasks have the slug {task.slug!r}", hint="give one another: Task(…, slug=…)")

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __getitem__(self, slug: str) -> Task:
        return self._tasks[slug]

    def __repr__(self) -> str:
        return f"Taskset({self.name!r}, {len(self)} tasks)"

    def items(self) -> Iterable[tuple[str, Task]]:
        """Give slugs and rows."""
        return self._tasks.items()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Taskset:
        """Read a `.json`, `.jsonl` or `.py` file or a folder; the name is the file's stem.

        Raises:
            NotFoundError: there is no such file.
            UsageError: another kind of file, or a row that is malformed.
            EnvironmentLoadError: Python source that does not import.
        """
        from hud.environment.source import collect_tasks

        return cls(Path(path).stem, collect_tasks(path))

    @classmethod
    def from_module(cls, path: str | os.PathLike[str]) -> Taskset:
        """Read a Python file or folder; see `from_file`."""
        if not os.path.isdir(path) and not os.fspath(path).endswith(".py"):
            raise UsageError(f"{os.fspath(path)} is no Python source", hint="use Taskset.from_file for JSON")
        return cls.from_file(path)

    @classmethod
    def from_api(cls, reference: str) -> Taskset:
        """Load a taskset of the configured platform by its name or id, with its name and id.

        Raises:
            UsageError: there is none (it is a `ValueError`), or it has a row that cannot be used here.
            NotAuthorisedError: there is no key, or one that is not accepted.
            PlatformError: the platform refused, or sent what cannot be read.
            UnreachableError: it does not answer.
        """
        from hud.platform import tasksets
        from hud.platform.client import Platform

        with Platform.connect() as platform:
            record = tasksets.find(platform, reference)
            if record is None:
                raise UsageError(f"there is no taskset {reference!r} on {platform.origin}", hint="hud sync list")
            rows = tasksets.records(platform, record.id)
        return cls(record.name, map(_of_record, rows), taskset_id=record.id)

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as `.json` or `.jsonl`, beside and renamed, so a reader never sees half of it.

        Raises:
            UsageError: another kind of file, or a row with something that JSON cannot carry.
        """
        text = os.fspath(path)
        if not text.endswith((".json", ".jsonl")):
            raise UsageError(f"{text} is neither .json nor .jsonl")
        rows = [task.to_row() for task in self]
        for row in rows:
            try:
                json.dumps(row, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise UsageError(f"task {row['slug']!r} holds what JSON cannot carry: {error}") from error
        if text.endswith(".jsonl"):
            content = "".join(json.dumps(row) + "\n" for row in rows)
        else:
            content = json.dumps(rows, indent=2) + "\n"
        beside = f"{text}.{os.getpid()}.tmp"
        try:
            Path(beside).write_text(content, encoding="utf-8")
            os.replace(beside, text)
        finally:
            Path(beside).unlink(missing_ok=True)

    def filter(self, slugs: Iterable[str]) -> Taskset:
        """Give a taskset of the rows with these slugs, under the same name and id.

        Raises:
            UsageError: one of them is not there.
        """
        wanted = list(slugs)
        unknown = [slug for slug in wanted if slug not in self._tasks]
        if unknown:
            raise UsageError(f"no task {unknown[0]!r} in taskset {self.name!r}")
        return Taskset(self.name, [t for t in self if t.slug in wanted], taskset_id=self.taskset_id)

    def exclude(self, slugs: Iterable[str]) -> Taskset:
        """Give a taskset without the rows of these slugs, under the same name and id."""
        dropped = set(slugs)
        return Taskset(self.name, [t for t in self if t.slug not in dropped], taskset_id=self.taskset_id)

    def environment_names(self) -> set[str]:
        """Give the environments that the rows and their verifiers need."""
        return {row.env for task in self for row in (task, task.verifier) if row is not None}

    async def run(
        self,
        agent: Agent,
        *,
        runtime: Provider | None = None,
        group: int | None = None,
        max_concurrent: int | None = None,
        job: Job | None = None,
        rollout_timeout: float | None = None,
    ) -> Job:
        """Run an agent on every row.

        Args:
            agent: An async callable on a `Run`; one serves all rollouts at once.
            runtime: Where; by default the live environments the rows came from.
            group: Rollouts a row, the job's by default; those of one row share a `group_id`.
            max_concurrent: At most so many at once; None for no limit.
            job: One to add to, instead of a new one.
            rollout_timeout: Seconds for each rollout, from provisioning to the grade.

        Returns:
            The job, its runs in the order of the rows, whatever order they finished in. A rollout that failed is
            among them with its error and never stops the others.

        Raises:
            UsageError: a number out of range, deadlines that contradict each other, or no runtime to run on.
            ImportError: it is called while a source is imported, by a script that stands beside an environment.
        """
        refuse_while_importing()
        group = (job.group if job is not None else 1) if group is None else group
        if not callable(agent):
            raise UsageError(f"the agent is {agent!r}", hint="give an async function that takes a Run")
        if runtime is not None and not callable(runtime):
            raise UsageError(f"the runtime is {runtime!r}", hint=_RUNTIMES)
        _check_limits(self, group, max_concurrent, rollout_timeout)
        if job is None:
            repeats = f" ({group} times)" if group > 1 else ""
            only = next(iter(self)).id if len(self) == 1 else f"{self.name} ({len(self)} tasks)"
            job = Job(name=only + repeats, group=group, taskset_id=self.taskset_id)
        if not len(self):
            return job
        provider = runtime if runtime is not None else _default_runtime(self)
        places: list[tuple[Task, str]] = [(task, gid) for task in self for gid in [new_id()] for _ in range(group)]
        finished: list[Run | None] = [None] * len(places)
        queue = iter(enumerate(places))

        async def work() -> None:
            for index, (task, group_id) in queue:
                finished[index] = await rollout(
                    task,
                    agent,
                    runtime=provider,
                    job_id=job.id,
                    group_id=group_id,
                    rollout_timeout=rollout_timeout,
                )

        try:
            with sigterm_cancels():
                async with opened(provider), asyncio.TaskGroup() as workers:
                    for _ in range(min(max_concurrent or len(places), len(places))):
                        workers.create_task(work())
        except BaseExceptionGroup as errors:  # a rollout keeps every Exception; this is what ends a program
            raise errors.exceptions[0] from None
        finally:
            job.runs.extend(run for run in finished if run is not None)
        return job


def _of_record(record: TaskRecord) -> Task:
    """Give the row of an export record; its verifier is a row already (platform API specification, section 7.1)."""
    return Task(
        record.env,
        record.scenario,
        record.args,
        slug=record.name,
        validation=record.validation,
        agent_config=record.agent_config,
        columns=record.columns,
        runtime_config=record.runtime_config,
        verifier=None if record.verifier is None else Task.from_row(record.verifier),
    )


def _check_limits(tasks: Taskset, group: int, max_concurrent: int | None, rollout_timeout: float | None) -> None:
    if group < 1:
        raise UsageError(f"group is {group}: give at least 1")
    if max_concurrent is not None and max_concurrent < 1:
        raise UsageError(f"max_concurrent is {max_concurrent}: give at least 1, or None for no limit")
    if rollout_timeout is not None and not rollout_timeout > 0:
        raise UsageError(f"rollout_timeout is {rollout_timeout}: give seconds above 0")
    for task in tasks:
        agent_s = (task.agent_config or {}).get("timeout_seconds")
        if agent_s is not None and not _is_positive(agent_s):
            raise UsageError(f"task {task.slug!r}: the agent's timeout_seconds is {agent_s!r}: give seconds above 0")
        limits = task.runtime_config.limits if task.runtime_config is not None else None
        named = {
            "startup_timeout_s": limits.startup_timeout_s if limits is not None else None,
            "run_timeout_s": limits.run_timeout_s if limits is not None else None,
        }
        pairs = [("the agent's timeout_seconds", agent_s, "run_timeout_s", named["run_timeout_s"])]
        pairs += [
            (name, value, "rollout_timeout", rollout_timeout)
            for name, value in (("the agent's timeout_seconds", agent_s), *named.items())
        ]
        for inner, inner_s, outer, outer_s in pairs:
            if inner_s is not None and outer_s is not None and inner_s >= outer_s:
                raise UsageError(
                    f"task {task.slug!r}: {inner} ({inner_s:g}) must be below {outer} ({outer_s:g})",
                    hint="leave time for grading and removal",
                )


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)


_RUNTIMES = 'pass runtime=LocalRuntime("env.py"), DockerRuntime("IMAGE") or Runtime("tcp://HOST:PORT")'


def _default_runtime(tasks: Taskset) -> Provider:
    """Choose where to run: the images the rows name, or the live environments they were made from."""
    configs = [task.runtime_config for task in tasks if task.runtime_config is not None]
    if any(config.image is not None or config.compose is not None for config in configs):
        from hud.eval.runtimes.docker import DockerRuntime

        return DockerRuntime()
    if all(task.environment is not None for task in tasks):
        return _LiveEnvironments(tasks)
    raise UsageError("there is no runtime to run these tasks on", hint=_RUNTIMES)


class _LiveEnvironments:
    """Serve each row by the live environment it was made from; a verifier that was not made from one, by name."""

    def __init__(self, tasks: Taskset) -> None:
        from hud.eval.runtimes.local import LocalRuntime

        rows = [row for task in tasks for row in (task, task.verifier) if row is not None]
        environments = {id(row.environment): row.environment for row in rows if row.environment is not None}
        self._runtimes = {key: LocalRuntime(environment) for key, environment in environments.items()}
        self._names = {environment.name: key for key, environment in environments.items()}
        self._stack = AsyncExitStack()

    def __call__(self, task: Task) -> AbstractAsyncContextManager[Runtime]:
        key = id(task.environment) if task.environment is not None else self._names.get(task.env)
        if key is None:
            raise UsageError(f"there is no live environment {task.env!r} for task {task.slug!r}", hint=_RUNTIMES)
        return self._runtimes[key](task)

    async def __aenter__(self) -> _LiveEnvironments:
        for runtime in self._runtimes.values():
            await self._stack.enter_async_context(runtime)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)
