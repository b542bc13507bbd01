"""Symbolic links of a tree that is not on this disk: which of them lead out of it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["leading_out"]

_MOST_FOLLOWED = 40  # as many as Linux follows in one path
_MOST_STEPS = 4_000_000


def leading_out(targets: Mapping[str, str]) -> str | None:
    """Give a link that does not stay inside the tree, if there is one.

    A link leads out when it is absolute, or when following it, through the tree's other links as well, passes above
    the root at any moment, even to come back. What is not in `targets` is taken for a folder, so dangling links and
    links that go round in circles stay inside.

    Args:
        targets: Where each link points, by the link's path.
    """
    steps = 0
    for link in targets:
        steps += 1
        place = link.split("/")[:-1]
        rest = _parts(targets[link])
        if targets[link].startswith("/"):
            return link
        followed = 1
        while rest:
            part = rest.pop()
            steps += 1
            if part == "..":
                if not place:
                    return link
                place.pop()
                continue
            place.append(part)
            target = targets.get("/".join(place))
            if target is None:
                continue
            followed += 1
            if followed > _MOST_FOLLOWED:
                break
            if target.startswith("/"):
                return link
            place.pop()
            rest += _parts(target)
        if steps > _MOST_STEPS:
            # Only what was made to cost time gets here: an honest link takes some ten steps.
            return link
    return None


def _parts(target: str) -> list[str]:
    """Give the parts of a target, the last one first."""
    return [part for part in reversed(target.split("/")) if part not in ("", ".")]
