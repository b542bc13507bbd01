"""A structured evaluation: the reward, and what it was made of (command-line and SDK specification, section 10)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hud.errors import UsageError

__all__ = ["EvaluationResult", "SubScore"]


@dataclass(init=False)
class SubScore:
    """One named part of a reward.

    Attributes:
        value: Between 0 and 1.
        weight: Its share; a negative weight is a penalty.
        children: The parts this one was made of.
        info: Evidence for people; JSON values. `metadata` is another name for it when one is made.
    """

    name: str
    value: float
    weight: float = 1.0
    children: list[SubScore] | None = None
    info: dict[str, Any] | None = None

    def __init__(
        self,
        *,
        name: str,
        value: float,
        weight: float = 1.0,
        children: Iterable[SubScore | Mapping[str, Any]] | None = None,
        info: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(value, str) or not 0.0 <= value <= 1.0:  # false for NaN too
            raise UsageError(f"sub-score {name!r} has the value {value!r}: give one between 0 and 1")
        evidence = metadata if info is None else info
        self.name = name
        self.value = float(value)
        self.weight = float(weight)
        self.children = None if children is None else [_sub_score(child) for child in children]
        self.info = None if evidence is None else dict(evidence)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> SubScore:
        """Read the wire form; `metadata` is another name for `info`, and no further key is allowed."""
        unknown = row.keys() - {"name", "value", "weight", "children", "info", "metadata"}
        if unknown:
            raise UsageError(f"a sub-score has no field {min(unknown)!r}")
        if not isinstance(row.get("name"), str) or not isinstance(row.get("value"), int | float):
            raise UsageError("a sub-score needs a name and a numeric value")
        return cls(**row)


@dataclass(init=False)
class EvaluationResult:
    """What a template yields when a bare number says too little.

    Any further keyword, or attribute set later, becomes a key of the result frame.

    Attributes:
        reward: Any finite number; it travels as `score`.
    """

    reward: float
    done: bool
    content: str | None
    info: dict[str, Any]
    isError: bool  # noqa: N815  the wire's spelling
    subscores: list[SubScore] | None

    def __init__(
        self,
        *,
        reward: float = 0.0,
        done: bool = True,
        content: str | None = None,
        info: Mapping[str, Any] | None = None,
        isError: bool = False,  # noqa: N803  the wire's spelling
        subscores: Iterable[SubScore | Mapping[str, Any]] | None = None,
        **extra: Any,
    ) -> None:
        if not math.isfinite(reward):
            raise UsageError(f"a reward is a finite number, got {reward!r}")
        self.reward = reward
        self.done = done
        self.content = content
        self.info = dict(info or {})
        self.isError = isError
        self.subscores = None if subscores is None else [_sub_score(part) for part in subscores]
        vars(self).update(extra)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EvaluationResult) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    @classmethod
    def from_float(cls, reward: float) -> EvaluationResult:
        """Wrap a bare number."""
        return cls(reward=float(reward))

    def to_frame(self) -> dict[str, Any]:
        """Give the evaluation as it travels (protocol specification, section 5.3)."""
        frame = dict(vars(self))
        del frame["reward"]
        return frame | {"score": float(self.reward)}


def _sub_score(part: SubScore | Mapping[str, Any]) -> SubScore:
    return part if isinstance(part, SubScore) else SubScore.from_dict(part)
