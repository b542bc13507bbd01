"""Ids as they travel: 32 hexadecimal digits or the dashed form, which are equal (PA-03)."""

from __future__ import annotations

import uuid

from hud.errors import NotFoundError
from hud.names import dashed

__all__ = ["parse"]


def parse(text: str, what: str) -> uuid.UUID:
    """Give the id that `text` writes in either form.

    Args:
        what: What it should be the id of, for the message: `environment`, `build`.

    Raises:
        NotFoundError: it is no id, so nothing has it.
    """
    identifier = dashed(text)
    if identifier is None:
        raise NotFoundError(f"no {what} has the id {text!r}", hint="ids are UUIDs, with or without hyphens")
    return uuid.UUID(identifier)
