"""Lists as they travel: `{"items": […], "total": n}`, where `total` counts all of them (PA-06)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from litestar.params import Parameter

__all__ = ["MOST", "Limit", "Listing", "Offset"]

T = TypeVar("T")

MOST = 2**31 - 1  # what every database counts with

Limit = Annotated[int | None, Parameter(ge=1, le=MOST)]
Offset = Annotated[int, Parameter(ge=0, le=MOST)]


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[T]):
    """One page, and how many there are in all."""

    items: list[T]
    total: int
