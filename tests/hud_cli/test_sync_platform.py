"""`hud sync` against our own platform: digests instead of exports, batches, revisions, and nobody's rows lost."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hud import Taskset
from tests.hud_cli.conftest import Done, Hud
from tests.hud_platform.uploading import WORD, make_environment
from tests.platform_process import PlatformProcess

VERIFIER = {"args": {"k": 2, "x": None}, "columns": {"a": 1}}
FULL: dict[str, Any] = {
    "args": {"i": 1, "f": 1.0, "big": 2**70, "small": 1e-7, "u": "grüße \u2028 😀", "null": None, "list": [[], {}]},
    "validation": [{"name": "submit", "arguments": {"answer": None}}],
    "agent_config": {"max_steps": 3, "system_prompt": None},
    "columns": {"difficulty": "easy", "weight": 0.1, "none": None},
    "runtime_config": {
        "compose": {"document": {"services": {"main": {"environment": {"A": None}}}}, "root": {"a": 1}},
        "resources": {"cpu": 2, "gpu": {"type": ["H100", "A100"], "count": 1}},
        "limits": {"run_timeout_s": 600},
    },
}
INJECTIONS = ["x'); DROP TABLE tasks;--", "{{7*7}}", "${jndi:ldap://x}", "a/../b", "\u202eevil", "<script>", "%00"]

Sync = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(platform: PlatformProcess) -> str:
    """An environment whose task `count` takes anything, and `spell` a word."""
    return make_environment(platform, {"count": None, "spell": WORD})


@pytest.fixture
def name() -> str:
    """The name of a taskset that is not there yet."""
    return f"set-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def sync(hud: Hud, folder: Path, platform: PlatformProcess) -> Sync:
    """Run `hud sync …` in the folder, against the platform."""

    def run(*words: str, key: str | None = None) -> Done:
        access = {"HUD_API_URL": platform.url, "HUD_API_KEY": key or platform.key or ""}
        return hud("sync", *words, cwd=folder, HUD_RETRY_LIMIT_S="5", **access)

    return run


def save(folder: Path, rows: list[dict[str, Any]], *, file: str = "rows.jsonl") -> str:
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def rows_of(environment: str, count: int) -> list[dict[str, Any]]:
    return [{"env": environment, "id": "count", "args": {"n": index}, "slug": f"s{index:05}"} for index in range(count)]


def plan(done: Done) -> list[int]:
    """Give the counts: create, update, unchanged, remote-only, remove."""
    document = json.loads(done.out)
    names = ("create", "update", "unchanged", "remote_only", "remove")
    return [document[f"{name}_count"] for name in names]


def test_pa_19_every_field_comes_back_equal(sync: Sync, folder: Path, environment: str, name: str) -> None:
    full = {"env": environment, "id": "count", **FULL, "verifier": {"env": environment, "id": "count", **VERIFIER}}
    file = save(folder, [full, {**full, "args": {}, "slug": "bare"}, {"env": environment, "id": "count", "slug": "x"}])
    first = sync("tasks", name, file, "--yes", "--json")
    assert first.code == 0, first.out
    assert json.loads(first.out)["tasks_created"] == 3
    assert plan(sync("tasks", name, file, "--check", "--json")) == [0, 0, 3, 0, 0]
    for export in ("out.json", "out.csv"):
        assert sync("tasks", name, "--export", export).code == 0
        assert plan(sync("tasks", name, export, "--check", "--json")) == [0, 0, 3, 0, 0]


def test_only_what_differs_is_sent_and_shown(sync: Sync, folder: Path, environment: str, name: str) -> None:
    rows = rows_of(environment, 5000)
    assert sync("tasks", name, save(folder, rows), "--yes").code == 0
    rows[7] = {**rows[7], "args": {"n": "seven"}}
    del rows[-1]
    rows.append({**rows[0], "slug": "new"})
    done = sync("tasks", name, save(folder, rows), "--yes", "--diff")
    assert done.code == 0, done.err
    assert done.out == (
        'Create: 1\n  + new\nUpdate: 1\n  ~ s00007\n      args.n: 7 → "seven"\nUnchanged: 4998\nRemote-only: 1\n'
    )
    assert "1 created, 1 updated. It is at revision 2." in done.err


def test_prune_removes_what_only_the_platform_has(sync: Sync, folder: Path, environment: str, name: str) -> None:
    rows = rows_of(environment, 4)
    sync("tasks", name, save(folder, rows), "--yes")
    file = save(folder, rows[:2])
    refused = sync("tasks", name, file, "--prune")
    assert refused.code == 2
    assert f"nobody can be asked whether to remove 2 rows from {name}" in refused.err
    assert plan(sync("tasks", name, file, "--prune", "--exclude", "s00003", "--dry-run", "--json")) == [0, 0, 2, 0, 1]
    done = sync("tasks", name, file, "--prune", "--yes", "--json")
    assert json.loads(done.out)["tasks_removed"] == 2
    assert plan(sync("tasks", name, file, "--check", "--json")) == [0, 0, 2, 0, 0]


def test_what_was_synced_can_be_taken_back(sync: Sync, folder: Path, environment: str, name: str) -> None:
    rows = rows_of(environment, 3)
    sync("tasks", name, save(folder, rows), "--yes")
    sync("tasks", name, save(folder, rows[:1], file="less.jsonl"), "--prune", "--yes")
    history = json.loads(sync("history", name, "--json").out)
    assert [(each["revision"], each["tasks"], each["current"]) for each in history] == [(2, 1, True), (1, 3, False)]
    assert sync("rollback", name, "1").code == 2
    assert sync("rollback", name, "1", "--yes").code == 0
    assert plan(sync("tasks", name, "rows.jsonl", "--check", "--json")) == [0, 0, 3, 0, 0]
    newest = json.loads(sync("history", name, "--json").out)[0]
    assert (newest["revision"], newest["rolled_back_to"], newest["digest"]) == (3, 1, history[1]["digest"])
    lines = sync("history").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["*", "3"], ["2", line_date(lines[1])], ["1", line_date(lines[2])]]
    assert sync("rollback", name, "99", "--yes").code == 1


def line_date(line: str) -> str:
    return line.split()[1]


def test_tasksets_are_listed(sync: Sync, folder: Path, environment: str, name: str) -> None:
    sync("tasks", name, save(folder, rows_of(environment, 2)), "--yes")
    (found,) = json.loads(sync("list", "--search", name, "--json").out)
    assert (found["name"], found["tasks"], found["revision"]) == (name, 2, 1)
    assert sync("list", "--search", name, "--quiet").out == f"{found['id']}\n"
    assert sync("list", "--search", name).out == f"{name}  {found['id']}  2 rows  revision 1\n"


def test_weakness_11_somebody_elses_sync_is_not_overwritten_unseen(
    sync: Sync, folder: Path, environment: str, name: str, platform: PlatformProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hud import settings
    from hud.errors import PlatformError
    from hud.platform import tasksets
    from hud.platform.client import Platform
    from hud.sync.rows import load
    from hud.sync.tasks import carry_out, compare

    rows = rows_of(environment, 2)
    sync("tasks", name, save(folder, rows), "--yes")
    mine = load(folder / save(folder, [{**rows[0], "args": {"n": "mine"}}], file="mine.jsonl"))
    explicit = {"HUD_API_URL": platform.url, "HUD_API_KEY": platform.key}
    with Platform(settings.load(explicit)) as client:
        taskset = tasksets.find(client, name)
        assert taskset is not None
        comparison = compare(client, mine, taskset)
        sync("tasks", name, save(folder, [{**rows[0], "args": {"n": "theirs"}}], file="theirs.jsonl"), "--yes")
        with pytest.raises(PlatformError, match=f"someone else synced '{name}' since it was compared"):
            carry_out(client, comparison)
        assert plan(sync("tasks", name, "theirs.jsonl", "--check", "--json"))[:3] == [0, 0, 1]
        assert carry_out(client, comparison, force=True).tasks_updated == 1


def test_a_taskset_that_somebody_makes_meanwhile_is_not_written_into(
    sync: Sync, folder: Path, environment: str, name: str, platform: PlatformProcess
) -> None:
    from hud import settings
    from hud.errors import PlatformError
    from hud.platform.client import Platform
    from hud.sync.rows import load
    from hud.sync.tasks import carry_out, compare

    file = save(folder, rows_of(environment, 2))
    with Platform(settings.load({"HUD_API_URL": platform.url, "HUD_API_KEY": platform.key})) as client:
        comparison = compare(client, load(folder / file), name)
        sync("tasks", name, save(folder, rows_of(environment, 1), file="theirs.jsonl"), "--yes")
        with pytest.raises(PlatformError, match="someone else synced"):
            carry_out(client, comparison)


def test_pa_20_rows_that_no_environment_knows_are_named_line_by_line(
    sync: Sync, folder: Path, environment: str, name: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"env": "nowhere", "id": "count", "slug": "a"},
        {"env": environment, "id": "cuont", "slug": "b"},
        {"env": environment, "id": "spell", "args": {"word": 3}, "slug": "c"},
        {"env": environment, "id": "count", "slug": "good"},
    ]
    done = sync("tasks", name, save(folder, rows), "--yes")
    assert done.code != 0
    message = done.err.partition("Error: ")[2].splitlines()
    assert [line.split(":")[0] for line in message[:3]] == ["task 'a'", "task 'b'", "task 'c'"]
    assert sync("history", name).code == 1  # nothing of it is there


def test_a_key_that_only_reads_cannot_sync(
    sync: Sync, folder: Path, environment: str, name: str, platform: PlatformProcess
) -> None:
    key = platform.mint("read")
    file = save(folder, rows_of(environment, 2))
    assert sync("tasks", name, file, "--dry-run", key=key).code == 0
    assert sync("tasks", name, file, "--yes", key=key).code == 4
    assert sync("tasks", name, file, "--yes").code == 0
    assert sync("tasks", name, file, "--check", key=key).code == 0
    assert sync("rollback", name, "1", "--yes", key=key).code == 4


def test_names_and_slugs_are_text_and_nothing_else(sync: Sync, folder: Path, environment: str, name: str) -> None:
    row = {"env": environment, "id": "count"}
    file = save(folder, [{**row, "slug": text, "args": {text: text}} for text in INJECTIONS])
    for text in INJECTIONS:
        done = sync("tasks", f"{name} {text}", file, "--yes", "--json")
        assert done.code == 0, done.out
        assert plan(sync("tasks", f"{name} {text}", file, "--check", "--json")) == [0, 0, len(INJECTIONS), 0, 0]


def test_arguments_of_ten_megabytes_travel(sync: Sync, folder: Path, environment: str, name: str) -> None:
    row = {"env": environment, "id": "count", "args": {"text": "grün\n" * 2_000_000}}
    file = save(folder, [row, {**row, "slug": "other"}])
    done = sync("tasks", name, file, "--yes")
    assert done.code == 0, done.err
    assert sync("tasks", name, file, "--check").code == 0


def test_a_synced_taskset_is_loaded_from_the_platform(
    sync: Sync, folder: Path, environment: str, name: str, platform: PlatformProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"env": environment, "id": "count", **FULL, "slug": "s"}
    sync("tasks", name, save(folder, [row]), "--yes")
    monkeypatch.setenv("HUD_API_URL", platform.url)
    monkeypatch.setenv("HUD_API_KEY", platform.key or "")
    loaded = Taskset.from_api(name)
    expected = Taskset.from_file(folder / "rows.jsonl")
    assert loaded.taskset_id is not None
    assert [task.to_row() for task in loaded] == [task.to_row() for task in expected]
