"""Names of environments and projects in the one form that a platform compares."""

from __future__ import annotations

import re

__all__ = ["normalise"]


def normalise(name: str) -> str:
    """Give a name in lower-case letters, digits and single hyphens; nothing may be left of it.

    Source: platform API specification, section 5.
    """
    text = re.sub(r"[\s_]", "-", name.strip().lower())
    return re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "", text)).strip("-")
