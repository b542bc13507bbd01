"""The answer to a template that declared its type."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Answer"]

T = TypeVar("T")


class Answer(Generic[T]):
    """What a template with `returns=T` receives in place of the bare answer.

    Attributes:
        content: The answer as a T; when it is none, as it came, whatever the annotation says.
        raw: The answer's text as it came.
    """

    __slots__ = ("content", "raw")

    def __init__(self, content: T, raw: str) -> None:
        self.content = content
        self.raw = raw

    def __repr__(self) -> str:
        return f"Answer(content={self.content!r}, raw={self.raw!r})"
