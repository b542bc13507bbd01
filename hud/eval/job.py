"""The runs of one call, or of several that were collected, and their mean reward."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hud.eval.run import Run

__all__ = ["Job", "new_id"]


def new_id() -> str:
    """Make an id of 32 hexadecimal digits for a job, a group or a trace."""
    return os.urandom(16).hex()


@dataclass(kw_only=True)
class Job:
    """A list of runs.

    Attributes:
        id: 32 hexadecimal digits.
        runs: Task by task in the taskset's order, the repeats of one task together.
        group: Repeats a task.
    """

    name: str
    id: str = field(default_factory=new_id)
    runs: list[Run] = field(default_factory=list)
    group: int = 1
    taskset_id: str | None = None

    @classmethod
    async def start(cls, name: str, *, group: int = 1, taskset_id: str | None = None) -> Job:
        """Open a job that several calls of `run(…, job=job)` add to."""
        return cls(name=name, group=group, taskset_id=taskset_id)

    @property
    def reward(self) -> float:
        """The mean reward of the graded runs; 0.0 when there are none. Failed runs do not count."""
        rewards = [run.reward for run in self.runs if run.is_graded]
        return sum(rewards) / len(rewards) if rewards else 0.0

    @property
    def errors(self) -> list[Run]:
        """The runs without a valid grade."""
        return [run for run in self.runs if not run.is_graded]

    @property
    def results(self) -> dict[str, list[Run]]:
        """The runs by slug."""
        results: dict[str, list[Run]] = {}
        for run in self.runs:
            results.setdefault(run.slug, []).append(run)
        return results
