"""What a sync would do: rows to create, to update, to leave alone, and those that only the platform has."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

__all__ = ["SyncPlan"]


@dataclass(frozen=True, kw_only=True)
class SyncPlan:
    """Slugs by what happens to their rows; each list is sorted, and no slug is in two of them.

    Attributes:
        create: Here and not on the platform.
        update: On both sides, with different content.
        unchanged: On both sides, equal.
        remote_only: On the platform alone; they stay.
        remove: On the platform alone, to be removed because that was asked for.
    """

    create: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    remote_only: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @classmethod
    def between(
        cls,
        local: Mapping[str, bytes],
        remote: Mapping[str, bytes],
        *,
        leave: Container[str] = (),
        force: bool = False,
        prune: bool = False,
    ) -> SyncPlan:
        """Compare rows by their digests (`hud.sync.signature.digest`), both by slug.

        Args:
            leave: Slugs that are not looked at, on either side.
            force: Update what is equal, too.
            prune: Remove what only the platform has.

        Source: platform API specification, section 7.2.
        """
        create: list[str] = []
        update: list[str] = []
        unchanged: list[str] = []
        for slug, digest in local.items():
            if slug in leave:
                continue
            there = remote.get(slug)
            if there is None:
                create.append(slug)
            elif force or there != digest:
                update.append(slug)
            else:
                unchanged.append(slug)
        alone = tuple(sorted(slug for slug in remote.keys() - local.keys() if slug not in leave))
        return cls(
            create=tuple(sorted(create)),
            update=tuple(sorted(update)),
            unchanged=tuple(sorted(unchanged)),
            remote_only=() if prune else alone,
            remove=alone if prune else (),
        )

    @property
    def sent(self) -> tuple[str, ...]:
        """The rows that travel: those to create and those to update."""
        return self.create + self.update

    @property
    def is_up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.create or self.update or self.remove)

    def counts(self) -> dict[str, int]:
        """Give the number of rows of each kind, by its name."""
        names = ("create", "update", "unchanged", "remote_only", "remove")
        return {name: len(getattr(self, name)) for name in names}
