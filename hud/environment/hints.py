"""Argument types that tell a platform what an argument is for (`x-hud-hint` in `tasks.list`)."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

__all__ = ["DataFileArg", "DataFileRef", "DataFilesArg", "GradingArg", "Hint", "PromptArg"]


class Hint:
    """The note that carries a hint inside `Annotated[…]`."""

    __slots__ = ("hud_hint",)

    def __init__(self, hud_hint: str) -> None:
        self.hud_hint = hud_hint


class DataFileRef(TypedDict):
    """A reference to a stored file; no further keys."""

    file_id: str
    path: NotRequired[str | None]


PromptArg = Annotated[str, Hint("prompt")]
"""Text that becomes (part of) the prompt."""

DataFileArg = Annotated[DataFileRef, Hint("data-file")]
"""One stored file."""

DataFilesArg = Annotated[list[DataFileRef], Hint("data-files")]
"""Several stored files."""

GradingArg = Annotated[list[dict[str, Any]], Hint("grading")]
"""Criteria by which the answer is graded."""
