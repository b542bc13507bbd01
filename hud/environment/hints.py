"""Argument types that tell a platform what an argument is for (`x-hud-hint` in `tasks.list`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

__all__ = ["DataFileArg", "DataFileRef", "DataFilesArg", "GradingArg", "Hint", "PromptArg"]

T = TypeVar("T")


class Hint:
    """The note that carries a hint inside `Annotated[…]`."""

    __slots__ = ("hud_hint",)

    def __init__(self, hud_hint: str) -> None:
        self.hud_hint = hud_hint


@dataclass(frozen=True)
class DataFileRef:
    """A reference to a stored file, and where the environment puts it; no further keys."""

    file_id: str
    path: str | None = None


PromptArg = Annotated[str, Hint("prompt")]
"""Text that becomes (part of) the prompt."""

DataFileArg = Annotated[T, Hint("data-file")]
"""One stored file: `DataFileArg[DataFileRef]`, or any type of the author's that describes one."""

DataFilesArg = Annotated[list[T], Hint("data-files")]
"""Several stored files: `DataFilesArg[DataFileRef]`."""

GradingArg = Annotated[list[T], Hint("grading")]
"""Criteria by which the answer is graded: `GradingArg[str]`, `GradingArg[Criterion]`."""
