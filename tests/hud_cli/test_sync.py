"""`hud sync` against the public service's stand-in: requests, words, exit codes."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest

from hud.platform.link import read
from tests.hud_cli.conftest import Done, Hud
from tests.stand_in import TEAM, USER, PublicService, Scripted

ROWS: list[dict[str, Any]] = [
    {"env": "letter-env", "id": "count", "args": {"word": "strawberry", "letter": "r"}},
    {
        "env": "letter-env",
        "id": "count",
        "args": {"word": "banana", "letter": "a"},
        "columns": {"difficulty": "easy"},
    },
]
SLUGS = ["count-759529a8", "count-2dc7d4b0"]
RECORDS = [
    {"name": slug, "env": row["env"], "scenario": row["id"], **{k: v for k, v in row.items() if k not in ("env", "id")}}
    for slug, row in zip(SLUGS, ROWS, strict=True)
]
TASKS = """
from hud import Task
tasks = [
    Task("letter-env", "count", {"word": "strawberry", "letter": "r"}),
    Task("letter-env", "count", {"word": "banana", "letter": "a"}, columns={"difficulty": "easy"}),
]
"""

Sync = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two rows."""
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "tasks.py").write_text(TASKS)
    return folder


@pytest.fixture
def sync(hud: Hud, folder: Path, public_service: PublicService) -> Sync:
    """Run `hud sync …` in the folder with rows, against the service."""

    def run(*words: str, **extra: str) -> Done:
        return hud("sync", *words, cwd=folder, **{**public_service.variables, "HUD_RETRY_LIMIT_S": "0", **extra})

    return run


@pytest.fixture
def taskset(public_service: PublicService) -> str:
    """The id of the taskset `newset`, which holds what the folder does."""
    return public_service.add_taskset("newset", deepcopy(RECORDS))


def calls(service: PublicService) -> list[str]:
    return [f"{request.method} {request.path}" for request in service.requests]


def uploads(service: PublicService) -> list[Any]:
    return [request.json for request in service.requests if request.path == "/v2/tasks/upload"]


def rows_file(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


# The golden exchanges G3 and G4


def test_g3_a_taskset_that_is_absent_is_made_by_one_upload(sync: Sync, public_service: PublicService) -> None:
    done = sync("tasks", "newset", "tasks.py", "--yes")
    assert done.code == 0, done.err
    assert calls(public_service) == [
        "GET /v2/auth/me",
        "GET /v2/tasksets/by-name/newset",
        "GET /v2/capabilities",
        "POST /v2/tasks/upload",
    ]
    named = [{"name": slug, "env": {"name": "letter-env"}, "task_id": "count"} for slug in SLUGS]
    tasks = [
        {**named[0], "args": {"word": "strawberry", "letter": "r"}},
        {**named[1], "args": {"word": "banana", "letter": "a"}, "columns": {"difficulty": "easy"}},
    ]
    assert uploads(public_service) == [{"taskset_name": "newset", "tasks": tasks}]
    assert done.out == "Create: 2\n  + count-2dc7d4b0\n  + count-759529a8\nUpdate: 0\nUnchanged: 0\nRemote-only: 0\n"
    assert "Synced taskset newset" in done.err


def test_g4_what_is_equal_is_not_sent(sync: Sync, public_service: PublicService, taskset: str) -> None:
    done = sync("tasks", "newset", "tasks.py")
    assert done.code == 0, done.err
    assert "Unchanged: 2\n" in done.out
    assert calls(public_service) == [
        "GET /v2/auth/me",
        "GET /v2/tasksets/by-name/newset",
        f"GET /v2/tasksets/{taskset}",
        "GET /v2/capabilities",
        f"GET /v2/tasksets/{taskset}/export",
    ]


def test_pa_19_every_field_comes_back_equal(sync: Sync, folder: Path, public_service: PublicService) -> None:
    verifier = {"env": "judge-env", "id": "judge", "args": {"k": 2, "x": None}, "columns": {"a": 1}}
    row = {
        "env": "letter-env",
        "id": "count",
        "args": {"i": 1, "f": 1.0, "big": 2**70, "small": 1e-7, "u": "grüße \u2028 😀", "null": None, "list": [[], {}]},
        "validation": [{"name": "submit", "arguments": {"answer": None}}],
        "agent_config": {"max_steps": 3, "system_prompt": None},
        "columns": {"difficulty": "easy", "weight": 0.1, "none": None},
        "runtime_config": {
            "compose": {"document": {"services": {"main": {"environment": {"A": None}}}}, "root": {"a": 1}},
            "resources": {"cpu": 2, "gpu": {"type": ["H100", "A100"], "count": 1}},
            "limits": {"run_timeout_s": 600},
        },
        "verifier": verifier,
    }
    rows_file(folder, [row, {**row, "args": {}, "slug": "bare"}])
    assert sync("tasks", "newset", "tasks.jsonl", "--yes").code == 0
    again = sync("tasks", "newset", "tasks.jsonl", "--check", "--json")
    found = json.loads(again.out)
    assert (again.code, found["create_count"], found["update_count"], found["unchanged_count"]) == (0, 0, 0, 2)


def test_only_what_differs_is_sent(sync: Sync, folder: Path, public_service: PublicService, taskset: str) -> None:
    public_service.tasksets[taskset]["rows"][SLUGS[0]]["args"] = {"word": "straw", "letter": "r"}
    public_service.tasksets[taskset]["rows"]["elsewhere"] = {**RECORDS[0], "name": "elsewhere"}
    done = sync("tasks", "newset", "--yes")
    (upload,) = uploads(public_service)
    assert [task["name"] for task in upload["tasks"]] == [SLUGS[0]]
    assert (upload["taskset_name"], upload["taskset_id"]) == ("newset", taskset)
    assert done.out == f"Create: 0\nUpdate: 1\n  ~ {SLUGS[0]}\nUnchanged: 1\nRemote-only: 1\n"
    assert "elsewhere" in public_service.tasksets[taskset]["rows"]


def test_force_sends_everything(sync: Sync, public_service: PublicService, taskset: str) -> None:
    assert sync("tasks", "newset", "--force", "--yes").code == 0
    (upload,) = uploads(public_service)
    assert [task["name"] for task in upload["tasks"]] == SLUGS


def test_rows_are_chosen_and_left_out_by_slug(sync: Sync, public_service: PublicService) -> None:
    assert sync("tasks", "one", "--task", SLUGS[1], "--yes").code == 0
    assert sync("tasks", "two", "--exclude", SLUGS[1], "--yes").code == 0
    first, second = uploads(public_service)
    assert [task["name"] for task in first["tasks"]] == [SLUGS[1]]
    assert [task["name"] for task in second["tasks"]] == [SLUGS[0]]


def test_an_unknown_slug_is_named_with_a_close_one(sync: Sync) -> None:
    done = sync("tasks", "newset", "--task", "count-759529a9", "--yes")
    assert done.code == 1
    assert "Error: no task 'count-759529a9' in .\nHint: did you mean count-759529a8?" in done.err


# The link


def test_the_first_taskset_is_linked_and_bare_sync_uses_it(
    sync: Sync, folder: Path, public_service: PublicService
) -> None:
    assert sync("tasks", "newset", "--yes").code == 0
    link = read(folder)
    assert link.taskset_id == next(iter(public_service.tasksets))
    assert link.scope is not None
    assert (link.scope.user_id, link.scope.team_id) == (USER, TEAM)
    public_service.requests.clear()
    assert sync().code == 0
    assert calls(public_service)[1] == f"GET /v2/tasksets/{link.taskset_id}"


def test_another_taskset_is_linked_only_when_asked(sync: Sync, folder: Path, public_service: PublicService) -> None:
    first = public_service.add_taskset("first", RECORDS)
    second = public_service.add_taskset("second", RECORDS)
    for words, linked in ((("first",), first), (("second",), first), (("second", "--link"), second)):
        assert sync("tasks", *words).code == 0
        assert read(folder).taskset_id == linked


def test_a_dry_run_and_a_check_write_nothing(sync: Sync, folder: Path, public_service: PublicService) -> None:
    before = sorted(folder.rglob("*"))
    assert sync("tasks", "newset", "--dry-run").code == 0
    assert sync("tasks", "newset", "--check").code == 1
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts] == before
    assert {request.method for request in public_service.requests} == {"GET"}


def test_without_a_link_a_taskset_has_to_be_named(sync: Sync) -> None:
    done = sync()
    assert done.code == 2
    assert "Error: no taskset is named, and this folder is linked to none\nHint: hud sync tasks NAME" in done.err


def test_a_linked_taskset_that_is_gone_is_not_made_again(
    sync: Sync, public_service: PublicService, taskset: str
) -> None:
    assert sync("tasks", "newset").code == 0
    public_service.tasksets.clear()
    done = sync("--yes")
    assert done.code == 1
    assert f"Error: the taskset {taskset} that .hud/config.json links to is not there" in done.err


def test_a_link_to_another_team_stops_the_command(sync: Sync, public_service: PublicService, taskset: str) -> None:
    assert sync("tasks", "newset").code == 0
    public_service.identity["team_id"] = "33333333-3333-4333-8333-333333333333"
    done = sync("--yes")
    assert done.code == 1
    assert ".hud/config.json links to " in done.err
    assert not uploads(public_service)


def test_an_id_that_is_not_there_is_no_name(sync: Sync) -> None:
    done = sync("tasks", "99999999-9999-4999-8999-999999999999", "--yes")
    assert done.code == 1
    assert "Error: there is no taskset 99999999-9999-4999-8999-999999999999" in done.err


def test_a_file_in_the_place_of_the_name_is_noticed(sync: Sync) -> None:
    done = sync("tasks", "tasks.py", "--yes")
    assert done.code == 2
    assert "Hint: hud sync tasks NAME tasks.py" in done.err


def test_a_project_goes_along_with_a_new_taskset(sync: Sync, public_service: PublicService) -> None:
    public_service.add_project("demo")
    project = public_service.projects[-1]["id"]
    assert sync("tasks", "newset", "--project", "Demo", "--yes").code == 0
    assert sync("tasks", "newset", "--force", "--yes").code == 0
    first, second = uploads(public_service)
    assert first["project_id"] == project
    assert "project_id" not in second


# Plans


def test_check_says_by_its_exit_code_whether_it_is_up_to_date(
    sync: Sync, folder: Path, public_service: PublicService, taskset: str
) -> None:
    assert sync("tasks", "newset", "--check").code == 0
    (folder / "tasks.py").write_text(TASKS.replace("banana", "bananas"))
    done = sync("tasks", "newset", "--check", "--json")
    found = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert (found["status"], found["dry_run"], found["create"]) == ("out_of_date", True, ["count-e795c346"])
    assert (found["create_count"], found["unchanged_count"], found["remote_only_count"]) == (1, 1, 1)
    assert not uploads(public_service)


def test_diff_shows_what_changes_field_by_field(sync: Sync, public_service: PublicService, taskset: str) -> None:
    public_service.tasksets[taskset]["rows"][SLUGS[1]] |= {"args": {"word": "bananas"}, "columns": None}
    done = sync("tasks", "newset", "--diff", "--dry-run")
    assert (
        f"Update: 1\n  ~ {SLUGS[1]}\n"
        '      args.letter added: "a"\n'
        '      args.word: "bananas" → "banana"\n'
        '      columns added: {"difficulty": "easy"}\n'
    ) in done.out
    document = json.loads(sync("tasks", "newset", "--diff", "--dry-run", "--json").out)
    assert document["changes"][SLUGS[1]][0] == {"path": "args.letter", "kind": "added", "before": None, "after": "a"}


def test_a_result_as_json_has_the_names_of_the_public_client(sync: Sync, public_service: PublicService) -> None:
    done = sync("tasks", "newset", "--yes", "--json")
    document = json.loads(done.out)
    assert document["status"] == "synced"
    assert (document["taskset"], document["taskset_id"]) == ("newset", next(iter(public_service.tasksets)))
    assert (document["create_count"], document["tasks_created"], document["tasks_updated"]) == (2, 2, 0)


def test_prune_needs_a_platform_that_can(sync: Sync, taskset: str) -> None:
    done = sync("tasks", "newset", "--prune", "--yes")
    assert done.code == 1
    assert "does not offer the removal of rows (--prune)" in done.err


# Asking


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_r21_where_nobody_can_be_asked_nothing_changes(
    sync: Sync, public_service: PublicService, words: tuple[str, ...]
) -> None:
    done = sync("tasks", "newset", *words)
    assert done.code == 2
    assert "nobody can be asked whether to upload 2 rows to newset" in done.out + done.err
    assert not uploads(public_service)


@pytest.mark.parametrize(("answer", "uploaded"), [("y", 1), ("n", 0), ("", 0)])
def test_on_a_terminal_it_asks(
    folder: Path, variables: dict[str, str], public_service: PublicService, answer: str, uploaded: int
) -> None:
    terminal = pexpect.spawn(
        sys.executable, ["-m", "hud_cli", "sync", "tasks", "newset"],
        cwd=str(folder), env={**variables, **public_service.variables, "TERM": "dumb"}, encoding="utf-8", timeout=20,
    )  # fmt: skip
    terminal.expect_exact("Upload 2 rows to newset? [y/N] ")
    terminal.sendline(answer)
    terminal.expect("Synced taskset newset" if uploaded else "Nothing was changed.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert len(uploads(public_service)) == uploaded


@pytest.mark.parametrize(
    "words", [("--check", "--watch"), ("--dry-run", "--export", "a.json"), ("--export", "a.json", "--watch")]
)
def test_contradictions_are_refused(sync: Sync, public_service: PublicService, words: tuple[str, ...]) -> None:
    done = sync("tasks", "newset", *words)
    assert done.code == 2
    assert "exclude each other" in done.err
    assert not public_service.requests


# Bad input


def test_without_rows_nothing_is_asked(sync: Sync, folder: Path, public_service: PublicService) -> None:
    (folder / "tasks.py").write_text("")
    done = sync("tasks", "newset", "--yes")
    assert done.code == 1
    assert "Error: no task rows found in ." in done.err
    assert not uploads(public_service)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"env": "e", "id": "t"}\n{"env": "e", "id": "t"}\n', "duplicate task slugs in tasks.jsonl: t"),
        ('{"env": "e", "id": "t", "args": {"x": NaN}}\n', "tasks.jsonl:1: args.x is NaN, which JSON has no number for"),
        ('{"env": "e"\n', "tasks.jsonl:1 is not JSON: "),
        ('{"env": "e"}\n', "tasks.jsonl:1: a task row needs 'id'"),
    ],
)
def test_a_bad_file_stops_the_command(
    sync: Sync, folder: Path, public_service: PublicService, text: str, message: str
) -> None:
    (folder / "tasks.jsonl").write_text(text)
    done = sync("tasks", "newset", "tasks.jsonl", "--yes")
    assert done.code == 2
    assert f"Error: {message}" in done.err
    assert not uploads(public_service)


def test_pa_20_a_refusal_is_shown_line_by_line(sync: Sync, public_service: PublicService) -> None:
    detail = "count-759529a8: unknown environment 'letter-env'\ncount-2dc7d4b0: unknown environment 'letter-env'"
    public_service.script("POST", ".*/tasks/upload", Scripted(status=400, body={"detail": detail}))
    done = sync("tasks", "newset", "--yes")
    assert done.code == 1
    assert f"Error: {detail}\n" in done.err


INJECTIONS = [
    "x'); DROP TABLE tasks;--",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "a/../b",
    "\u202eevil",
    "a\nb",
    "<script>",
    "%00",
]


def test_names_and_slugs_are_text_and_nothing_else(sync: Sync, folder: Path, public_service: PublicService) -> None:
    rows_file(folder, [{**ROWS[0], "slug": text, "columns": {text: text}} for text in INJECTIONS])
    for name in INJECTIONS:
        done = sync("tasks", name, "tasks.jsonl", "--yes")
        assert done.code == 0, done.err
        assert (done.out + done.err).replace("\n", "").isprintable()
        assert sync("tasks", name, "tasks.jsonl", "--check").code == 0
    assert sorted(row["name"] for row in public_service.tasksets.values()) == sorted(INJECTIONS)
    assert list(next(iter(public_service.tasksets.values()))["rows"]) == INJECTIONS


def test_arguments_of_ten_megabytes_travel(sync: Sync, folder: Path, public_service: PublicService) -> None:
    rows_file(folder, [{**ROWS[0], "args": {"text": "grün\n" * 2_000_000}}])
    assert sync("tasks", "newset", "tasks.jsonl", "--yes").code == 0
    assert sync("tasks", "newset", "tasks.jsonl", "--check").code == 0


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([RECORDS[0], RECORDS[0]], "two records have the name 'count-759529a8'"),
        ([{**RECORDS[0], "name": None}], "record 0: Expected `str`, got `null`"),
        ([{**RECORDS[0], "env": {"name": "e"}}], "record 0: Expected `str`, got `object`"),
        ([{**RECORDS[0], "args": [1]}], "record 0: Expected `object | null`, got `array`"),
    ],
)
def test_a_taskset_that_no_client_can_use_is_said_to_be_so(
    sync: Sync, public_service: PublicService, taskset: str, records: list[dict[str, Any]], reason: str
) -> None:
    body = {"name": "newset", "tasks": records}
    public_service.script("GET", ".*/export", Scripted(body=body))
    done = sync("tasks", "newset", "--yes")
    assert done.code == 1
    assert f"Error: taskset 'newset' ({taskset}) cannot be read: {reason}" in done.err
    assert not uploads(public_service)


def test_what_a_source_prints_is_no_part_of_the_plan(sync: Sync, folder: Path, taskset: str) -> None:
    (folder / "tasks.py").write_text(f"print('noise')\nimport os\nos.system('echo noise')\n{TASKS}")
    assert json.loads(sync("tasks", "newset", "--check", "--json").out)["status"] == "up_to_date"


@pytest.mark.parametrize(
    ("variables", "code"), [({"HUD_API_KEY": "wrong"}, 4), ({"HUD_API_URL": "http://127.0.0.1:9"}, 3)], ids=str
)
def test_no_access_and_no_platform(sync: Sync, variables: dict[str, str], code: int) -> None:
    assert sync("tasks", "newset", "--yes", **variables).code == code


# Export


def test_an_export_is_written_and_read_back(sync: Sync, folder: Path, taskset: str) -> None:
    for name in ("out.json", "out.jsonl", "out.csv"):
        done = sync("tasks", "newset", "--export", name)
        assert (done.code, done.out) == (0, "")
        assert done.err == f"Wrote 2 rows of taskset newset to {name}.\n"
        assert sync("tasks", "newset", name, "--check").code == 0
    rows = list(csv.reader(io.StringIO((folder / "out.csv").read_text())))
    assert rows[0] == ["slug", "id", "env", "arg:letter", "arg:word", "columns"]
    assert json.loads(sync("tasks", "newset", "--export", "out.json", "--json").out) == {
        "action": "export",
        "taskset": "newset",
        "taskset_id": taskset,
        "path": "out.json",
        "task_count": 2,
    }


@pytest.mark.parametrize("reference", ["gone", "99999999-9999-4999-8999-999999999999"])
def test_weakness_10_an_export_of_nothing_leaves_the_file_alone(sync: Sync, folder: Path, reference: str) -> None:
    (folder / "out.json").write_text("precious")
    done = sync("tasks", reference, "--export", "out.json")
    assert done.code == 1
    assert "Error: there is no taskset" in done.err
    assert (folder / "out.json").read_text() == "precious"


def test_an_export_to_another_kind_of_file_asks_the_platform_nothing(sync: Sync, public_service: PublicService) -> None:
    done = sync("tasks", "newset", "--export", "out.xlsx")
    assert done.code == 2
    assert "Error: out.xlsx is neither .json, .jsonl nor .csv" in done.err
    assert not public_service.requests


# Watching


@pytest.fixture
def watching(
    folder: Path, variables: dict[str, str], public_service: PublicService
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `hud sync tasks newset … --watch`."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "hud_cli", "sync", "tasks", "newset", *words, "--watch"],
                cwd=folder,
                env={**variables, **public_service.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"{words!r} did not come", pytrace=False)


@pytest.mark.parametrize("name", ["tasks.py", "tasks.jsonl", "."])
def test_watch_syncs_what_is_saved_until_ctrl_c(
    folder: Path, public_service: PublicService, watching: Callable[..., subprocess.Popen[str]], name: str
) -> None:
    if name == "tasks.jsonl":
        rows_file(folder, ROWS)
    process = watching(name)
    wait_for(process, "2 created")
    wait_for(process, "Watching")
    if name == "tasks.jsonl":
        beside = folder / "other"
        beside.write_text(json.dumps({**ROWS[0], "slug": "new"}) + "\n")
        beside.replace(folder / name)
    else:
        (folder / "tasks.py").write_text("def broken(:")
        wait_for(process, "SyntaxError")
        wait_for(process, "Watching")
        (folder / "tasks.py").write_text(TASKS.replace("banana", "bananas"))
    wait_for(process, "1 created, 0 updated")
    wait_for(process, "Watching")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert len(public_service.tasksets) == 1
    (rows,) = (row["rows"] for row in public_service.tasksets.values())
    assert len(rows) == 3


def test_watch_misses_nothing_that_is_saved_while_it_syncs(
    folder: Path, public_service: PublicService, watching: Callable[..., subprocess.Popen[str]]
) -> None:
    rows_file(folder, ROWS)
    public_service.script("POST", ".*/tasks/upload", Scripted(delay_s=1.0, acted=True, body=None, status=503))
    process = watching("tasks.jsonl")
    while not uploads(public_service):
        time.sleep(0.02)
    rows_file(folder, [*ROWS, {**ROWS[0], "slug": "late"}])
    wait_for(process, "1 created")
    assert "late" in next(iter(public_service.tasksets.values()))["rows"]


def test_watch_and_prune_need_to_be_agreed_to_before(sync: Sync) -> None:
    done = sync("tasks", "newset", "--watch", "--prune")
    assert done.code == 2
    assert "--watch with --prune removes rows without asking" in done.err


# Environments, and what only our own platform has


def test_a_folder_is_linked_to_an_environment(sync: Sync, folder: Path, public_service: PublicService) -> None:
    identifier = public_service.add_environment("letter-env")
    public_service.add_environment("letter-env-2")
    for reference in ("Letter_Env", identifier, identifier.replace("-", "")):
        done = sync("env", reference)
        assert (done.code, done.out) == (0, "")
        assert done.err == f".hud/config.json links to the environment letter-env ({identifier}) now.\n"
    assert read(folder).registry_id == identifier


def test_an_environment_that_is_not_there_is_not_linked(
    sync: Sync, folder: Path, public_service: PublicService
) -> None:
    public_service.add_environment("letter-env")
    done = sync("env", "letter")
    assert done.code == 1
    assert "Error: there is no environment 'letter'\nHint: did you mean letter-env?" in done.err
    assert not (folder / ".hud").exists()


def test_an_environment_has_to_be_named_where_nobody_can_choose(sync: Sync) -> None:
    assert sync("env").code == 2
    assert sync("env", "x", "gone").code == 1


def test_an_environment_is_chosen_on_a_terminal(
    folder: Path, variables: dict[str, str], public_service: PublicService
) -> None:
    identifier = public_service.add_environment("letter-env")
    terminal = pexpect.spawn(
        sys.executable, ["-m", "hud_cli", "sync", "env"],
        cwd=str(folder), env={**variables, **public_service.variables, "TERM": "dumb"}, encoding="utf-8", timeout=20,
    )  # fmt: skip
    terminal.expect_exact("Environment (1-1): ")
    terminal.sendline("2")
    terminal.expect_exact("'2' is none of them.")
    terminal.sendline("1")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, read(folder).registry_id) == (0, identifier)


@pytest.mark.parametrize("words", [("list",), ("history", "newset"), ("rollback", "newset", "1", "--yes")])
def test_the_public_service_keeps_no_history(sync: Sync, taskset: str, words: tuple[str, ...]) -> None:
    done = sync(*words)
    assert done.code == 1
    assert "does not offer" in done.err
    assert "hud platform up" in done.err


def test_options_of_a_command_come_after_it(sync: Sync) -> None:
    done = sync("--yes", "list")
    assert done.code == 2
    assert "Error: options of `hud sync list` come after 'list'" in done.err
