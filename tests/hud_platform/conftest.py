"""Platforms on either database, and what they know of environments without having built one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select, update

from hud_platform.tables import environments, projects, versions
from tests import bench
from tests.platform_process import PlatformProcess

MakeEnvironment = Callable[..., str]


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def any_platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """A running platform that tests share, once on SQLite and once on PostgreSQL."""
    folder = tmp_path_factory.mktemp(request.param)
    words = ("--database", bench.require_postgres()) if request.param == "postgresql" else ()
    process = PlatformProcess(data=folder / "data", home=folder / "home", words=words)
    yield process.start()
    process.close()


@pytest.fixture
def environment() -> MakeEnvironment:
    """Write an environment and a version of it into a running platform's database, and give its name.

    There is no image: it is what a build would leave behind for those that read. `tasks` maps the ids of its
    templates to the JSON schemas of their arguments; without it the environment has no version.
    """

    def make(
        platform: PlatformProcess,
        tasks: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        project_id: str | None = None,
    ) -> str:
        name = name or f"env-{uuid.uuid4().hex[:12]}"
        at = datetime.now(UTC)
        engine = create_engine(_address(platform))
        with engine.begin() as connection:
            chosen = projects.c.is_default if project_id is None else projects.c.id == uuid.UUID(project_id)
            owner = connection.execute(select(projects.c.id).where(chosen)).scalar_one()
            known = connection.execute(
                select(environments).where(environments.c.project_id == owner, environments.c.name == name)
            ).one_or_none()
            row_id = known.id if known else uuid.uuid4()
            number = (known.current_version or 0) + 1 if known else 1
            if known is None:
                values = {"id": row_id, "project_id": owner, "name": name, "declared_name": name, "created_at": at}
                connection.execute(insert(environments).values(values))
            if tasks is not None:
                manifest = {"tasks": [{"id": key, "args": schema} for key, schema in tasks.items()], "capabilities": []}
                image = {"image": f"{name}:{number}", "digest": "sha256:0", "size_bytes": 0}
                version = {"environment_id": row_id, "number": number, "manifest": manifest, "created_at": at}
                connection.execute(insert(versions).values({**version, **image}))
                connection.execute(
                    update(environments).where(environments.c.id == row_id).values(current_version=number)
                )
        engine.dispose()
        return name

    return make


def _address(platform: PlatformProcess) -> str:
    if "--database" in platform.words:
        given = platform.words[platform.words.index("--database") + 1]
        return given.replace("postgresql://", "postgresql+psycopg://", 1)
    return f"sqlite:///{platform.data / 'platform.sqlite'}"
