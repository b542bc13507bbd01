"""How much a platform holds, read from its SQLite file without opening the platform."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from hud_platform.storage.data_folder import DataFolder

__all__ = ["counts"]

_QUERIES = {
    "environments": "SELECT count(*) FROM environments",
    "builds": "SELECT count(*) FROM builds",
    "tasksets": "SELECT count(*) FROM tasksets",
    "tasks": "SELECT count(*) FROM tasks WHERE removed_in IS NULL",
    "keys": "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL",
}


def counts(root: Path) -> dict[str, int]:
    """Give the number of records by kind; none where there is no SQLite file that can be read."""
    path = DataFolder(root=root).database
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            return {name: connection.execute(query).fetchone()[0] for name, query in _QUERIES.items()}
    except sqlite3.Error:  # a database of an older version, or one that is being restored
        return {}
