"""Uploads of 100,000 task rows to a platform, by the clock, beside a bare `executemany` of the same rows into SQLite.

The platform is a process of its own and does all of it: rows are read, checked against their environment's schema,
signed and stored in one transaction. The bare side only stores.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.measure import Figure, quick_asked, report, wall_s
from benchmarks.parts import LOCAL_ENVIRONMENT, ROOT
from hud_platform.tasksets.task_checks import Checks
from hud_platform.tasksets.task_rows import read_row

_ENVIRONMENT = "letter-env"
_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}, "letter": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["word", "letter"],
    "additionalProperties": False,
}
_BATCH_ROWS = 2000
_LONGEST_ROW_US = 1e6 / 20_000
_LONGEST_CHECK_US = 1e6 / 50_000
_LEAST_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class _Platform:
    """A running platform."""

    host: str
    port: int
    key: str

    def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Make a call that has to succeed, on a connection of its own."""
        with closing(HTTPConnection(self.host, self.port, timeout=300)) as connection:
            connection.request(method, f"/v2{path}", body, {"Authorization": f"Bearer {self.key}"})
            reply = connection.getresponse()
            content = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {content.decode()[:500]}")
        return content


def main() -> None:
    quick = quick_asked(__doc__)
    number, repeats = (5_000, 2) if quick else (100_000, 5)
    rows = [_row(index) for index in range(number)]
    took_s: dict[str, list[float]] = {"whole": [], "batches": [], "again": [], "bare": [], "checks": [], "read": []}
    with tempfile.TemporaryDirectory(prefix="hud-figures-") as name, _platform(Path(name)) as platform:
        for turn in range(repeats):
            took_s["bare"].append(_bare_s(Path(name) / f"bare-{turn}.sqlite", rows))
            whole = b'{"taskset_name":"whole-%d","tasks":[%s]}' % (turn, b",".join(rows))
            for side in ("whole", "again"):  # again: nothing is new
                took_s[side].append(wall_s(partial(platform.call, "POST", "/tasks/upload", whole)))
            took_s["batches"].append(wall_s(partial(_in_batches, platform, f"batches-{turn}", rows)))
            found = json.loads(platform.call("GET", f"/tasksets/by-name/whole-{turn}"))
            path = f"/tasksets/{found['taskset_id']}/signatures"
            took_s["read"].append(wall_s(partial(platform.call, "GET", path)))
            took_s["checks"].append(_checks_s(rows))
    _report({side: min(times) * 1e6 / number for side, times in took_s.items()}, number)


def _report(row_us: dict[str, float], number: int) -> None:
    is_fast = True
    for side, name in (("whole", "in one request"), ("batches", f"in batches of {_BATCH_ROWS:,}")):
        figure = Figure(
            name=f"upload of {number:,} task rows {name}, a row",
            unit="µs",
            ours=row_us[side],
            against="the limit",
            reference=_LONGEST_ROW_US,
            target=1.0,
        )
        report(figure)
        is_fast = is_fast and bool(figure.met)
    report(
        Figure(
            name="the same in one request",
            unit="µs",
            ours=row_us["whole"],
            against="a bare `executemany` into SQLite",
            reference=row_us["bare"],
            bound="at least",
            target=None if is_fast else _LEAST_SHARE,  # one of the two was promised
        )
    )
    report(
        Figure(
            name="the same once more, with nothing new",
            unit="µs",
            ours=row_us["again"],
            against="the first time",
            reference=row_us["whole"],
        )
    )
    report(
        Figure(
            name="checking the arguments of a task row against a schema",
            unit="µs",
            ours=row_us["checks"],
            against="the limit",
            reference=_LONGEST_CHECK_US,
            target=1.0,
        )
    )
    report(
        Figure(
            name=f"the digests of {number:,} rows, a row",
            unit="µs",
            ours=row_us["read"],
            against="uploading it",
            reference=row_us["whole"],
        )
    )


def _row(index: int) -> bytes:
    args = {"word": "strawberry" * 3, "letter": "r", "n": index}
    fields: dict[str, Any] = {"name": f"count-{index:06}", "env": {"name": _ENVIRONMENT}, "task_id": "count"}
    return json.dumps({**fields, "args": args, "columns": {"difficulty": "hard"}}, separators=(",", ":")).encode()


def _in_batches(platform: _Platform, name: str, rows: list[bytes]) -> None:
    upload_id = uuid.uuid4()
    starts = range(0, len(rows), _BATCH_ROWS)
    for number, start in enumerate(starts):
        platform.call("PUT", f"/task-uploads/{upload_id}/{number}", b"\n".join(rows[start : start + _BATCH_ROWS]))
    asked = {"taskset_name": name, "batches": len(starts)}
    platform.call("POST", f"/task-uploads/{upload_id}/commit", json.dumps(asked).encode())


def _bare_s(path: Path, rows: list[bytes]) -> float:
    """Store the same rows with their slugs and digests, and nothing else, in a database with the same settings."""
    values = [("set", f"count-{index:06}", row, hashlib.sha1(row).digest()) for index, row in enumerate(rows)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE tasks (taskset TEXT, slug TEXT, row BLOB, digest BLOB)")

        def store() -> None:
            with connection:
                connection.executemany("INSERT INTO tasks VALUES (?, ?, ?, ?)", values)

        return wall_s(store)


def _checks_s(rows: list[bytes]) -> float:
    """Check the arguments of all rows, in this process."""
    checks = Checks(project_id=uuid.uuid4(), project="default")
    checks.learn(_ENVIRONMENT, number=1, manifest=_manifest())
    read = [read_row(row) for row in rows]
    return wall_s(lambda: [problem for row in read for problem in checks.problems(row)])


def _manifest() -> dict[str, Any]:
    return {"tasks": [{"id": "count", "args": _SCHEMA}], "capabilities": []}


@contextmanager
def _platform(folder: Path) -> Iterator[_Platform]:
    """Run a platform that knows one environment."""
    data = folder / "data"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hud_cli", "platform", "up"),
            "--json",
            "--no-settings",
            "--port",
            "0",
            "--data",
            data,
        ],
        cwd=ROOT,
        env={**LOCAL_ENVIRONMENT, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        address = urlsplit(said["url"])
        _write_environment(data / "platform.sqlite")
        yield _Platform(host=address.hostname or "", port=address.port or 0, key=said["key"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _write_environment(path: Path) -> None:
    """Write what a build leaves behind, for there is no engine here."""
    row_id, at = uuid.uuid4().hex, time.strftime("%Y-%m-%d %H:%M:%S.000000", time.gmtime())
    with closing(sqlite3.connect(path)) as connection, connection:
        (project,) = connection.execute("SELECT id FROM projects WHERE is_default").fetchone()
        connection.execute(
            "INSERT INTO environments (id, project_id, name, declared_name, current_version, created_at)"
            " VALUES (?, ?, ?, ?, 1, ?)",
            (row_id, project, _ENVIRONMENT, _ENVIRONMENT, at),
        )
        connection.execute(
            "INSERT INTO versions (environment_id, number, image, digest, size_bytes, manifest, created_at)"
            " VALUES (?, 1, 'none', 'none', 0, ?, ?)",
            (row_id, json.dumps(_manifest()), at),
        )


if __name__ == "__main__":
    main()
