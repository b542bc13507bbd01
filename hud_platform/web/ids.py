"""Ids as they travel: 32 hexadecimal digits or the dashed form, which are equal (PA-03)."""

from __future__ import annotations

import re
import uuid

from hud.errors import NotFoundError

__all__ = ["parse"]

_ID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def parse(text: str, what: str) -> uuid.UUID:
    """Give the id that `text` writes in either form.

    Args:
        what: What it should be the id of, for the message: `environment`, `build`.

    Raises:
        NotFoundError: it is no id, so nothing has it.
    """
    if not _ID.fullmatch(text):
        raise NotFoundError(f"no {what} has the id {text!r}", hint="ids are UUIDs, with or without hyphens")
    return uuid.UUID(text)
