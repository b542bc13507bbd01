"""A structured evaluation: the reward, and what it was made of (command-line and SDK specification, section 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hud.errors import UsageError

__all__ = ["EvaluationResult", "SubScore"]


@dataclass(kw_only=True)
class SubScore:
    """One named part of a reward.

    Attributes:
        value: Between 0 and 1.
        weight: Its share; a negative weight is a penalty.
        children: The parts this one was made of.
        info: Evidence for people; JSON values.
    """

    name: str
    value: float
    weight: float = 1.0
    children: list[SubScore] | None = None
    info: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:  # false for NaN too
            raise UsageError(f"sub-score {self.name!r} has the value {self.value!r}: give one between 0 and 1")

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> SubScore:
        """Read the wire form; `metadata` is another name for `info`, and no further key is allowed."""
        fields = {("info" if key == "metadata" else key): value for key, value in row.items()}
        unknown = fields.keys() - {"name", "value", "weight", "children", "info"}
        if unknown:
            raise UsageError(f"a sub-score has no field {min(unknown)!r}")
        if not isinstance(fields.get("name"), str) or not isinstance(fields.get("value"), int | float):
            raise UsageError("a sub-score needs a name and a numeric value")
        children = fields.pop("children", None)
        if children is not None:
            fields["children"] = [cls.from_dict(child) for child in children]
        return cls(**fields)


@dataclass(kw_only=True)
class EvaluationResult:
    """What a template yields when a bare number says too little.

    Attributes:
        reward: Any finite number; it travels as `score`.
        extra: Further keys of the result frame.
    """

    reward: float = 0.0
    done: bool = True
    content: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    isError: bool = False  # noqa: N815  the wire's spelling
    subscores: list[SubScore] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_float(cls, reward: float) -> EvaluationResult:
        """Wrap a bare number."""
        return cls(reward=float(reward))

    def to_frame(self) -> dict[str, Any]:
        """Give the evaluation as it travels (protocol specification, section 5.3)."""
        return {
            "done": self.done,
            "content": self.content,
            "info": self.info,
            "isError": self.isError,
            "subscores": self.subscores,
            **self.extra,
            "score": float(self.reward),
        }

    def __post_init__(self) -> None:
        if not math.isfinite(self.reward):
            raise UsageError(f"a reward is a finite number, got {self.reward!r}")
