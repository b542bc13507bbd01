"""The public SDK's own `hud deploy`, `hud sync` and `--export` against this project's platform, unmodified (PA-01)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import bench
from tests.interop.parties import Done, Party
from tests.platform_process import PlatformProcess

pytestmark = [pytest.mark.peer, pytest.mark.docker, pytest.mark.timeout(300)]

ROWS: list[dict[str, Any]] = [
    {"env": "my-blank", "id": "count", "args": {"sentence": "Strawberry world", "letter": "r"}},
    {
        "env": "my-blank",
        "id": "count",
        "args": {"sentence": "Grüße, 世界", "letter": "ß"},
        "slug": "ünïcode",
        "columns": {"weight": 1.0, "level": 1, "note": None},
        "agent_config": {"max_steps": 3},
        "validation": [{"name": "answer", "arguments": {"text": "1"}}],
        "runtime_config": {"image": "my-blank", "resources": {"cpu": 2.0}, "limits": {"run_timeout_s": 600}},
        "verifier": {"env": "my-blank", "id": "count", "args": {"sentence": "a", "letter": "a"}, "slug": "judge"},
    },
]


@pytest.fixture(scope="module")
def folder(scaffold: Callable[[str], Path]) -> Path:
    """A scaffold with rows that use every optional field."""
    made = scaffold("blank")
    (made / "rows.json").write_text(json.dumps(ROWS))
    return made


@pytest.fixture(scope="module")
def theirs_here(theirs: Party, platform: PlatformProcess, folder: Path) -> Callable[..., Done]:
    """Run the public SDK's command in the folder, pointed at this platform by its six variables."""

    return _commands_of(theirs, platform, folder)


@pytest.fixture(scope="module")
def ours_here(ours: Party, platform: PlatformProcess, folder: Path) -> Callable[..., Done]:
    """Run our command in the same folder, pointed at the same platform."""
    return _commands_of(ours, platform, folder)


def _commands_of(party: Party, platform: PlatformProcess, folder: Path) -> Callable[..., Done]:
    def run(*words: str, cwd: Path = folder) -> Done:
        return party.hud(*words, cwd=cwd, stdin=b"", **platform.settings)

    return run


@pytest.fixture(scope="module")
def deployed(theirs_here: Callable[..., Done]) -> dict[str, object]:
    """What the public SDK says of its own deploy."""
    done = theirs_here("deploy", "--yes", "--json", "--build-arg", f"BASE_IMAGE={bench.base_image()}")
    assert done.code == 0, done.err + done.out
    document: dict[str, object] = json.loads(done.out)
    return document


def test_pa_01_deploy_builds_registers_and_links_the_folder(
    deployed: dict[str, object], folder: Path, platform: PlatformProcess
) -> None:
    link = json.loads((folder / ".hud" / "config.json").read_text())
    record = platform.client.get(f"/v2/registry/{link['registry_id']}").json()
    assert (record["name"], record["latest_build"]["version"]) == ("my-blank", 1)


def test_pa_10_a_second_deploy_of_the_name_makes_the_next_version(
    deployed: dict[str, object], theirs_here: Callable[..., Done], folder: Path, platform: PlatformProcess
) -> None:
    (folder / "note.txt").write_text("changed")
    done = theirs_here("deploy", "--yes", "--json", "--build-arg", f"BASE_IMAGE={bench.base_image()}")
    assert done.code == 0, done.err + done.out
    page = platform.client.get("/v2/registry", params={"search": "my-blank"}).json()
    assert [(row["name"], row["latest_build"]["version"]) for row in page["items"]] == [("my-blank", 2)]


def test_pa_19_what_it_synced_once_it_finds_unchanged(
    deployed: dict[str, object], theirs_here: Callable[..., Done]
) -> None:
    first = theirs_here("sync", "tasks", "every/field", "rows.json", "--yes", "--json")
    assert first.code == 0, first.err + first.out
    again = theirs_here("sync", "tasks", "every/field", "rows.json", "--yes")
    assert "Unchanged: 2" in again.out + again.err


def test_what_one_client_synced_the_other_finds_unchanged(
    deployed: dict[str, object], theirs_here: Callable[..., Done], ours_here: Callable[..., Done]
) -> None:
    assert theirs_here("sync", "tasks", "theirs first", "rows.json", "--yes").code == 0
    checked = ours_here("sync", "tasks", "theirs first", "rows.json", "--check")
    assert checked.code == 0, checked.err
    assert ours_here("sync", "tasks", "ours first", "rows.json", "--yes").code == 0
    again = theirs_here("sync", "tasks", "ours first", "rows.json", "--yes")
    assert "Unchanged: 2" in again.out + again.err


def test_export_gives_back_what_was_uploaded(
    deployed: dict[str, object], theirs_here: Callable[..., Done], folder: Path
) -> None:
    theirs_here("sync", "tasks", "exported", "rows.json", "--yes")
    done = theirs_here("sync", "tasks", "exported", "--export", "back.json")
    assert done.code == 0, done.err
    assert sorted(json.loads((folder / "back.json").read_text()), key=lambda row: row["slug"]) == sorted(
        [{"slug": "count-4376680e", **ROWS[0]}, ROWS[1]], key=lambda row: str(row["slug"])
    )


def test_sync_env_links_a_folder_to_a_registered_environment(
    deployed: dict[str, object], theirs_here: Callable[..., Done], tmp_path: Path
) -> None:
    done = theirs_here("sync", "env", "my-blank", str(tmp_path), "--yes")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / ".hud" / "config.json").read_text())["registry_id"]


def test_pa_20_an_unknown_environment_is_refused_and_named(
    deployed: dict[str, object], theirs_here: Callable[..., Done], folder: Path
) -> None:
    (folder / "strange.json").write_text(json.dumps([{"env": "nowhere", "id": "count", "slug": "lost"}]))
    done = theirs_here("sync", "tasks", "refused", "strange.json", "--yes")
    assert done.code == 1
    assert "lost" in done.out + done.err
    assert "nowhere" in done.out + done.err
