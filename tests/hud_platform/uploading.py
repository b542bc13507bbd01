"""Calls about tasksets, and environments that a platform knows of without having built them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select, update

from hud_platform.storage.tables import environments, projects, versions
from tests.platform_process import PlatformProcess

__all__ = [
    "JSON",
    "OBJECTS",
    "WORD",
    "commit",
    "export",
    "fresh_name",
    "make_environment",
    "over_http",
    "put_batch",
    "row",
    "signatures",
    "try_upload",
    "upload",
]

WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
"""A schema of arguments."""

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1, 1.0, -0.0, 2**70])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)

over_http = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
"""For properties of a running platform."""


def make_environment(
    platform: PlatformProcess,
    tasks: dict[str, Any] | None = None,
    *,
    name: str | None = None,
    project_id: str | None = None,
) -> str:
    """Write an environment and its next version into a running platform's database, and give its name.

    There is no image: it is what a build leaves behind for those that read. `tasks` maps the ids of its templates to
    the JSON schemas of their arguments; without it the environment has no version.
    """
    name = name or f"env-{uuid.uuid4().hex[:12]}"
    at = datetime.now(UTC)
    engine = create_engine(_database(platform))
    with engine.begin() as connection:
        chosen = projects.c.is_default if project_id is None else projects.c.id == uuid.UUID(project_id)
        owner = connection.execute(select(projects.c.id).where(chosen)).scalar_one()
        mine = (environments.c.project_id == owner) & (environments.c.name == name)
        known = connection.execute(select(environments).where(mine)).one_or_none()
        row_id = known.id if known else uuid.uuid4()
        if known is None:
            values = {"id": row_id, "project_id": owner, "name": name, "declared_name": name, "created_at": at}
            connection.execute(insert(environments).values(values))
        if tasks is not None:
            number = (known.current_version or 0) + 1 if known else 1
            manifest = {"tasks": [{"id": key, "args": schema} for key, schema in tasks.items()], "capabilities": []}
            version = {"environment_id": row_id, "number": number, "manifest": manifest, "created_at": at}
            image = {"image": f"{name}:{number}", "digest": "sha256:0", "size_bytes": 0}
            connection.execute(insert(versions).values({**version, **image}))
            connection.execute(update(environments).where(mine).values(current_version=number))
    engine.dispose()
    return name


def _database(platform: PlatformProcess) -> str:
    if "--database" in platform.words:
        given = platform.words[platform.words.index("--database") + 1]
        return given.replace("postgresql://", "postgresql+psycopg://", 1)
    return f"sqlite:///{platform.data / 'platform.sqlite'}"


def fresh_name() -> str:
    return f"set-{uuid.uuid4().hex[:12]}"


def row(slug: str, env: str, *, task: str = "count", args: Any = None, **fields: Any) -> dict[str, Any]:
    """Give a row as an upload has it."""
    return {"name": slug, "env": {"name": env}, "task_id": task, "args": args or {}, **fields}


def try_upload(platform: PlatformProcess, rows: Sequence[Any], **target: Any) -> httpx.Response:
    return platform.client.post("/v2/tasks/upload", json={**target, "tasks": list(rows)})


def upload(platform: PlatformProcess, rows: Sequence[Any], **target: Any) -> dict[str, Any]:
    return _good(try_upload(platform, rows, **target))


def put_batch(platform: PlatformProcess, upload_id: str, number: int, rows: Sequence[Any]) -> httpx.Response:
    lines = "\n".join(json.dumps(each) for each in rows)
    return platform.client.put(f"/v2/task-uploads/{upload_id}/{number}", content=lines)


def commit(platform: PlatformProcess, upload_id: str, **asked: Any) -> httpx.Response:
    return platform.client.post(f"/v2/task-uploads/{upload_id}/commit", json=asked)


def export(platform: PlatformProcess, taskset_id: str) -> dict[str, dict[str, Any]]:
    """Give the records of a taskset by their slugs."""
    records = _good(platform.client.get(f"/v2/tasksets/{taskset_id}/export"))["tasks"]
    by_slug = {record["name"]: record for record in records}
    assert len(by_slug) == len(records)
    return by_slug


def signatures(platform: PlatformProcess, taskset_id: str) -> dict[str, Any]:
    return _good(platform.client.get(f"/v2/tasksets/{taskset_id}/signatures"))


def _good(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    document: dict[str, Any] = reply.json()
    return document
