"""Lists as they travel: `{"items": […], "total": n}`, where `total` counts all of them (PA-06)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Listing"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[T]):
    """One page, and how many there are in all."""

    items: list[T]
    total: int
