"""What one rollout leaves behind: the prompt, the trace, the grade and the timings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hud.errors import HudError, HudProtocolError, UsageError
from hud.eval.messages import Message, messages_of, text_of
from hud.graders.results import SubScore
from hud.wire import INTERNAL_ERROR

if TYPE_CHECKING:
    from hud.client import Client
    from hud.eval.task import Task

__all__ = ["Grade", "Message", "Phase", "Run", "Step", "Timings", "Trace"]

Phase = Literal["provision", "connect", "start", "agent", "grade", "verify", "release"]


@dataclass(slots=True)
class Grade:
    """A graded run's verdict; a run without one has `is_error` set.

    Attributes:
        raw: The whole evaluation frame.
    """

    reward: float = 0.0
    done: bool = True
    content: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    is_error: bool = False
    raw: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_frame(cls, frame: Mapping[str, Any]) -> Grade:
        """Read an evaluation frame whose score has been checked.

        Raises:
            HudProtocolError: its sub-scores are not what the protocol has (section 5.3).
        """
        content, info, subscores = frame.get("content"), frame.get("info"), frame.get("subscores")
        for part in subscores if isinstance(subscores, list) else ():
            try:
                SubScore.from_dict(part if isinstance(part, Mapping) else {})
            except UsageError as error:
                raise HudProtocolError(INTERNAL_ERROR, f"tasks.grade: {error.message}") from error
        return cls(
            reward=float(frame["score"]),
            done=bool(frame.get("done", True)),
            content=content if isinstance(content, str) else None,
            info=info if isinstance(info, dict) else {},
            is_error=bool(frame.get("isError", False)),
            raw=dict(frame),
        )


@dataclass(slots=True, kw_only=True)
class Step:
    """One event of a trajectory.

    Attributes:
        task_call: For `source="task"`: `phase` (`setup` or `evaluate`), `name`, `arguments`, `result`.
        started_at: Seconds since the epoch; `ended_at` likewise.
    """

    source: Literal["user", "agent", "tool", "task", "subagent", "system"]
    messages: list[Message] = field(default_factory=list)
    task_call: dict[str, Any] | None = None
    error: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Trace:
    """The trajectory of one run.

    Attributes:
        content: The agent's answer; an agent sets it.
        stop_reason: Why the agent ended.
    """

    trace_id: str
    steps: list[Step] = field(default_factory=list)
    status: Literal["completed", "error", "cancelled"] = "completed"
    stop_reason: Literal["done", "max_steps", "length", "timeout", "malformed_tool_call"] | None = None
    content: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    def record(self, step: Step) -> None:
        """Append a step."""
        self.steps.append(step)

    def final(self, content: Any) -> None:
        """Set the answer and end with `done`."""
        self.content = content
        self.stop_reason = "done"

    def collect(self, source: str) -> list[Step]:
        """Give the steps from one source."""
        return [step for step in self.steps if step.source == source]

    @property
    def is_error(self) -> bool:
        """Whether something failed on the way; the run may be graded all the same."""
        return self.status == "error"

    @property
    def is_truncated(self) -> bool:
        """Whether the agent was cut off before it was done."""
        return self.stop_reason in ("max_steps", "length", "timeout")

    @property
    def error(self) -> str | None:
        """The last error that was recorded, as text."""
        return next((step.error for step in reversed(self.steps) if step.error is not None), None)


@dataclass(slots=True)
class Timings:
    """Seconds spent in each phase; 0.0 for one that was not reached."""

    provision: float = 0.0
    connect: float = 0.0
    start: float = 0.0
    agent: float = 0.0
    grade: float = 0.0
    verify: float = 0.0
    release: float = 0.0

    @property
    def total(self) -> float:
        """Seconds in all phases together."""
        return self.provision + self.connect + self.start + self.agent + self.grade + self.verify + self.release


class Run:
    """One rollout of one task: what the agent works on, and what came of it.

    Attributes:
        task: The row that was run.
        prompt: As the environment sent it: text, a list of messages, or None.
        bindings: Per-episode connection data by capability name.
        trace: The trajectory; an agent's answer is `trace.content`.
        grade: The verdict; its `is_error` is set until there is one.
        error: What went wrong, as the exception itself; `phase` says where.
        phase: The phase the run is in; at its end the one that failed, or the last.
        runtime: The control-channel URL, or None when there never was one.
        timings: Seconds a phase.
    """

    __slots__ = (
        "_client", "_failed_in", "_since", "bindings", "error", "grade", "group_id", "job_id", "phase", "prompt",
        "runtime", "task", "timings", "trace", "trace_id",
    )  # fmt: skip

    def __init__(self, task: Task, *, trace_id: str, job_id: str | None = None, group_id: str | None = None) -> None:
        self.task = task
        self.trace_id = trace_id
        self.job_id = job_id
        self.group_id = group_id
        self.prompt: Any = None
        self.bindings: dict[str, dict[str, Any]] = {}
        self.trace = Trace(trace_id=trace_id)
        self.grade = Grade(is_error=True)
        self.error: Exception | None = None
        self.phase: Phase = "provision"
        self.runtime: str | None = None
        self.timings = Timings()
        self._client: Client | None = None
        self._failed_in: Phase | None = None
        self._since = time.perf_counter()

    def __repr__(self) -> str:
        outcome = f"reward={self.reward}" if self.is_graded else f"error={self.trace.error!r}"
        return f"Run({self.slug!r}, {outcome})"

    @property
    def task_id(self) -> str:
        """The template's id."""
        return self.task.id

    @property
    def slug(self) -> str:
        """The row's slug."""
        return self.task.slug

    @property
    def client(self) -> Client:
        """The live client; agents open capabilities through it.

        Raises:
            HudError: the run is not connected (any more).
        """
        if self._client is None:
            raise HudError(f"run {self.slug!r} has no live connection", hint="use run.client inside the agent")
        return self._client

    @property
    def is_graded(self) -> bool:
        """Whether there is a valid verdict: only such runs count in a job's reward."""
        return not self.grade.is_error

    @property
    def reward(self) -> float:
        """The grade's reward, 0.0 without one (see `is_graded`)."""
        return self.grade.reward

    @property
    def evaluation(self) -> dict[str, Any]:
        """The evaluation frame, without the evidence of its sub-scores."""
        frame = dict(self.grade.raw)
        if isinstance(frame.get("subscores"), list):
            frame["subscores"] = [_without_evidence(part) for part in frame["subscores"]]
        return frame

    @property
    def prompt_messages(self) -> list[Message]:
        """The prompt as messages of `user` and `assistant`, one for each block of content."""
        return messages_of(self.prompt)

    @property
    def prompt_text(self) -> str:
        """The text of the prompt, its parts joined by blank lines."""
        return text_of(self.prompt_messages)

    def record(self, step: Step) -> None:
        """Append a step to the trace."""
        self.trace.steps.append(step)

    def enter(self, phase: Phase) -> None:
        """Go on to the next phase; the time since the last change is the former's."""
        now = time.perf_counter()
        setattr(self.timings, self.phase, getattr(self.timings, self.phase) + now - self._since)
        self.phase = phase
        self._since = now

    def end(self) -> None:
        """Be over: where something failed, that phase is the one to show."""
        self.enter(self._failed_in or self.phase)

    def fail(self, error: Exception, phase: Phase) -> None:
        """Note what went wrong, as a system step that reads `[phase] message`."""
        self.error = error
        self._failed_in = phase
        self.trace.status = "error"
        self.record(Step(source="system", error=f"[{phase}] {_said(error)}", started_at=time.time()))


def _without_evidence(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if key != "info"}
    if isinstance(kept.get("children"), list):
        kept["children"] = [_without_evidence(child) for child in kept["children"]]
    return kept


def _said(error: BaseException) -> str:
    """Put an error into words: our own as they are, others with their kind, groups by what is in them."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_said(part) for part in error.exceptions))
    if isinstance(error, HudError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
