"""Names and ids in the one form that is compared."""

from __future__ import annotations

import re

__all__ = ["dashed", "normalise"]

_ID = re.compile(r"([0-9a-f]{8})(-?)([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{12})", re.ASCII)


def normalise(name: str) -> str:
    """Give a name in lower-case letters, digits and single hyphens; nothing may be left of it.

    Source: platform API specification, section 5.
    """
    text = re.sub(r"[\s_]", "-", name.strip().lower())
    return re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "", text)).strip("-")


def dashed(text: str) -> str | None:
    """Give an id, which travels as 32 hexadecimal digits or with dashes, with dashes; None for what is no id (PA-03).

    `uuid.UUID` does not do: it takes dashes anywhere, braces and underscores too.
    """
    match = _ID.fullmatch(text.lower())
    return None if match is None else "-".join(match.group(1, 3, 4, 5, 6))
