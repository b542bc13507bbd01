"""Times as they travel: ISO 8601 in UTC with a `Z`."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["aware", "now", "stamp"]


def now() -> datetime:
    """Give the time in UTC."""
    return datetime.now(UTC)


def aware(time: datetime) -> datetime:
    """Give a time that the database gave as one that knows its zone: SQLite keeps UTC and forgets that it is."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def stamp(time: datetime) -> str:
    """Write a time with microseconds and a `Z`."""
    return aware(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
