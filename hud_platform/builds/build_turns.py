"""Whose turn it is: some builds at once, one at a time of each environment, in the order in which they were begun."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

__all__ = ["Turns"]


@dataclass(eq=False)
class _Place:
    environment_id: UUID
    come: asyncio.Event = field(default_factory=asyncio.Event)
    here: bool = False


class Turns:
    """The queue of builds.

    A build is expected from the moment it was begun, and after a restart before anything runs: so a later build of the
    same environment does not overtake one whose workflow has not come back yet.

    Args:
        at_once: How many builds run at the same time.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._places: dict[UUID, _Place] = {}

    def expect(self, build_id: UUID, environment_id: UUID) -> None:
        """Give a build its place, behind all others; one that has a place keeps it."""
        self._places.setdefault(build_id, _Place(environment_id))

    def arrive(self, build_id: UUID) -> bool:
        """Say that a build is ready to run, and whether its turn is now; it lasts until `leave`."""
        place = self._places[build_id]
        place.here = True
        self._admit()
        return place.come.is_set()

    async def wait(self, build_id: UUID) -> None:
        """Wait for the turn of a build that has arrived."""
        await self._places[build_id].come.wait()

    def leave(self, build_id: UUID) -> None:
        """Give up a turn, or the place."""
        self._places.pop(build_id, None)
        self._admit()

    @property
    def running(self) -> int:
        """How many builds have their turn."""
        return sum(place.come.is_set() for place in self._places.values())

    @property
    def waiting(self) -> int:
        """How many builds have a place and not their turn."""
        return len(self._places) - self.running

    def _admit(self) -> None:
        taken = {place.environment_id for place in self._places.values() if place.come.is_set()}
        free = self._at_once - self.running
        for place in self._places.values():
            if free <= 0:
                return
            if place.come.is_set() or place.environment_id in taken:
                continue
            taken.add(place.environment_id)
            if place.here:
                place.come.set()
                free -= 1
