"""Records as public clients read them: a field that is not set does not travel, since some refuse a null."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["compact"]


def compact(record: Any) -> dict[str, Any]:
    """Give the fields of a record that are set, those of records in it likewise; maps and lists stay as they are."""
    row: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if value is not None:
            row[field.name] = _compact(value)
    return row


def _compact(value: Any) -> Any:
    if is_dataclass(value):
        return compact(value)
    if isinstance(value, list):
        return [_compact(each) for each in value]
    return value
