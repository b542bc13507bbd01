"""When a call may be sent again, and after how long.

Source: platform API specification, section 2 and PA-39.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["RETRIED_STATUSES", "WAITS_S", "Waits", "retry_after_s"]

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
WAITS_S = (2.0, 4.0, 8.0, 16.0)


class Waits:
    """The waits between the tries of one call.

    Args:
        limit_s: A bound on all of them together.
    """

    def __init__(self, limit_s: float) -> None:
        self._left_s = limit_s
        self._schedule = iter(WAITS_S)

    def next_s(self, headers: Mapping[str, str]) -> float | None:
        """Give the seconds before the next try, or None when there is none to make.

        A platform that asks for more than is left is not asked again before its time: that would be in vain.

        Args:
            headers: Of the reply that was no success, or none after a connection that broke.
        """
        wait_s = next(self._schedule, None)
        if wait_s is None:
            return None
        asked_s = retry_after_s(headers)
        wait_s = wait_s if asked_s is None else asked_s
        if wait_s > self._left_s:
            return None
        self._left_s -= wait_s
        return wait_s


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Give what `Retry-After` asks for, as seconds or as a date, or None."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    until = _date(text)
    if until is None:
        return None
    # The platform's own clock, where it tells: a wrong one here would wait too long, or not at all.
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
