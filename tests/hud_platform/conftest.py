"""Platforms on either database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import bench
from tests.hud_platform.uploading import make_environment
from tests.platform_process import PlatformProcess


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def any_platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """A running platform that tests share, once on SQLite and once on PostgreSQL."""
    folder = tmp_path_factory.mktemp(request.param)
    words = ("--database", bench.require_postgres()) if request.param == "postgresql" else ()
    process = PlatformProcess(data=folder / "data", home=folder / "home", words=words)
    yield process.start()
    process.close()


@pytest.fixture(scope="session")
def liberal_environment(any_platform: PlatformProcess) -> str:
    """The name of an environment whose task `count` takes any arguments."""
    return make_environment(any_platform, {"count": None})
