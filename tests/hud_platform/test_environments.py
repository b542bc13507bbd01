"""Environments: one a normalised name and project, variables that are kept, versions in a row."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hud.errors import NotFoundError, UsageError
from hud.platform.records import Manifest, ManifestTask
from hud_platform import projects
from hud_platform.backend import Backend, open_backend
from hud_platform.builds import environments
from hud_platform.builds.environments import NewVersion
from hud_platform.config import PlatformConfig


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with open_backend(PlatformConfig(data=tmp_path / "data")) as opened:
        yield opened


def made(number: int = 1) -> NewVersion:
    manifest = Manifest(tasks=[ManifestTask(id=f"task-{number}", args={"type": "object"})])
    return NewVersion(image=f"hud/x:{number}", digest=f"sha256:{number}", size_bytes=number, manifest=manifest)


async def test_pa_10_all_spellings_of_a_name_are_one_environment(backend: Backend) -> None:
    async with backend.database.begin() as connection:
        project = await projects.resolve(connection, None)
        rows = [
            await environments.find_or_create(connection, project, name)
            for name in ("My_Env", "my-env", "  MY  env!", "my--env")
        ]
    assert {(row.id, row.name) for row in rows} == {(rows[0].id, "my-env")}
    assert [row.declared_name for row in rows] == ["My_Env", "my-env", "  MY  env!", "my--env"]


async def test_a_name_belongs_to_its_project(backend: Backend) -> None:
    async with backend.database.begin() as connection:
        default = await projects.resolve(connection, None)
        other = await projects.create(connection, name="other", description=None)
        ids = {(await environments.find_or_create(connection, each, "x")).id for each in (default, other)}
    assert len(ids) == 2


@pytest.mark.parametrize("name", ["", "___", "é", "x" * 300, "'; DROP TABLE environments; --" * 20])
async def test_a_name_that_names_nothing_is_refused(backend: Backend, name: str) -> None:
    async with backend.database.begin() as connection:
        project = await projects.resolve(connection, None)
        with pytest.raises(UsageError, match="cannot name an environment"):
            await environments.find_or_create(connection, project, name)


async def test_pa_11_variables_that_are_left_out_are_kept(backend: Backend) -> None:
    async with backend.database.begin() as connection:
        row = await environments.find_or_create(connection, await projects.resolve(connection, None), "x")
        await environments.set_variables(connection, backend.vault, row.id, {"A": "1", "B": "line\nline"})
        await environments.set_variables(connection, backend.vault, row.id, {"A": "2", "C": "ünï"})
        kept = await environments.variables(connection, backend.vault, row.id)
    assert kept == {"A": "2", "B": "line\nline", "C": "ünï"}
    assert b"line\nline" not in (backend.data.root / "platform.sqlite").read_bytes()


async def test_versions_follow_each_other_and_the_last_is_current(backend: Backend) -> None:
    async with backend.database.begin() as connection:
        row = await environments.find_or_create(connection, await projects.resolve(connection, None), "x")
        numbers = [(await environments.add_version(connection, row.id, made(n))).number for n in (1, 2, 3)]
        earlier = await environments.version_row(connection, row, 1)
        back = await environments.add_version(connection, row.id, environments.rollback_source(earlier))
        again = await environments.add_version(connection, row.id, environments.rollback_source(back))
    assert numbers == [1, 2, 3]
    assert (back.number, back.image, back.rolled_back_to) == (4, "hud/x:1", 1)
    assert (again.number, again.rolled_back_to) == (5, 1)
    async with backend.database.connect() as connection:
        assert (await environments.version_row(connection, row, 5)).manifest == earlier.manifest
        with pytest.raises(NotFoundError, match="the environment 'x' has no version 9"):
            await environments.version_row(connection, row, 9)


async def test_the_registry_is_searched_sorted_and_paged(backend: Backend) -> None:
    async with backend.database.begin() as connection:
        project = await projects.resolve(connection, None)
        rows = [await environments.find_or_create(connection, project, name) for name in ("b-one", "a-one", "c-two")]
        await environments.add_version(connection, rows[0].id, made())

        async def names(**query: object) -> list[str]:
            page = await environments.list_records(connection, **query)  # type: ignore[arg-type]
            return [record.name for record in page.items]

        assert await names() == ["a-one", "b-one", "c-two"]
        assert await names(newest_first=True) == ["b-one", "c-two", "a-one"]
        assert await names(search="ONE", limit=1, offset=1) == ["b-one"]
        assert await names(search="%") == []
        assert (await environments.list_records(connection, search="one", limit=1)).total == 2


async def test_pa_03_ids_are_read_in_both_forms(backend: Backend) -> None:
    async with backend.database.begin() as connection:
        row = await environments.find_or_create(connection, await projects.resolve(connection, None), "x")
    for text in (str(row.id), row.id.hex, row.id.hex.upper()):
        assert (await environments.read_record(backend.reader, text))["id"] == str(row.id)
    for text in (str(uuid.uuid4()), "x", "../../etc"):
        with pytest.raises(NotFoundError, match="no environment has the id"):
            await environments.read_record(backend.reader, text)
