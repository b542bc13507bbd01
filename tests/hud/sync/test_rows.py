"""Local rows: digests of a whole source, and the few rows that are read again."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hud.environment.source import collect_tasks
from hud.errors import HudError, NotFoundError, UsageError
from hud.eval.task import Task
from hud.sync.rows import load
from hud.sync.signature import digest, settled

KEYS = st.text(st.characters(codec="utf-8"), max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)
VERIFIERS = st.fixed_dictionaries({"env": st.just("j"), "id": st.just("judge"), "args": OBJECTS})
ROWS = st.fixed_dictionaries(
    {"env": st.just("e") | st.just({"name": "e"}), "id": st.text(min_size=1, max_size=3)},
    optional={
        "args": st.none() | OBJECTS,
        "columns": st.none() | OBJECTS,
        "agent_config": OBJECTS,
        "validation": st.lists(OBJECTS, max_size=2),
        "runtime_config": st.sampled_from([{}, {"image": "a"}, {"resources": {"cpu": 2, "gpu": {"count": 1}}}]),
        "verifier": st.none() | VERIFIERS,
        "surprise": st.just(1),
    },
)
BAD: list[tuple[str, str]] = [
    ("[1]", "a task row is an object, got list"),
    ('{"id": "t"}', """a task row needs 'env': {"id": "t"}"""),
    ('{"env": "", "id": "t"}', "a task's env is a non-empty string, got ''"),
    ('{"env": "e", "id": 3}', "a task's id is a non-empty string, got 3"),
    ('{"env": "e", "id": "t", "slug": ""}', "a task's slug is a non-empty string, got ''"),
    ('{"env": "e", "id": "t", "args": [1]}', "a task's args is an object, got list"),
    ('{"env": "e", "id": "t", "columns": 1}', "a task's columns is an object, got int"),
    ('{"env": "e", "id": "t", "validation": {}}', "a task's validation is a list of calls, got dict"),
    ('{"env": "e", "id": "t", "verifier": 1}', "a task's verifier is an object, got int"),
    ('{"env": "e", "id": "t", "runtime_config": {"img": "a"}}', "runtime config: unknown key img"),
    (
        '{"env": "e", "id": "t", "verifier": {"env": "e", "id": "v", "verifier": {"env": "e", "id": "w"}}}',
        "the verifier of task 't' has a verifier of its own",
    ),
    ('{"env": "e", "id": "t", "args": {"x": [1, NaN]}}', "args.x[1] is NaN, which JSON has no number for"),
    ('{"env": "e", "id": "t", "args": {"x": -Infinity}}', "args.x is -Infinity, which JSON has no number for"),
    ('{"env": "e", "id": "t", "columns": {"x": 1e999}}', "columns.x is Infinity, which JSON has no number for"),
    ('{"env": "e", "id": "t", "args": {"x": "\\ud800"}}', "args.x holds half of a surrogate pair, which is no text"),
    (
        '{"env": "e", "id": "t", "runtime_config": {"compose": {"document": "compose.yaml"}}}',
        "runtime_config.compose.document is the path 'compose.yaml', which a platform cannot read",
    ),
]


def written(folder: Path, rows: list[Any], name: str) -> Path:
    path = folder / name
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n" if name.endswith("l") else f"[{', '.join(lines)}]")
    return path


@pytest.mark.filterwarnings("ignore:a task row has no field")
@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.json"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, max_size=4))
def test_the_fast_path_reads_what_a_task_reads(tmp_path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    rows = [{**row, "slug": f"row-{index}"} for index, row in enumerate(rows)]
    local = load(written(tmp_path, rows, name))
    expected = [Task.from_row(row).to_row() for row in rows]
    assert local.digests == {row["slug"]: digest(row) for row in expected}
    assert list(local.rows(local.digests)) == [{"slug": row["slug"], **settled(row)} for row in expected]


@pytest.mark.parametrize(("row", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_a_bad_row_is_named_by_its_place_and_its_fault(tmp_path: Path, row: str, message: str) -> None:
    lines, document = tmp_path / "tasks.jsonl", tmp_path / "tasks.json"
    lines.write_text(f'{{"env": "e", "id": "good"}}\n\n{row}\n')
    document.write_text(f'[{{"env": "e", "id": "good"}}, {row}]')
    for path, place in ((lines, f"{lines}:3"), (document, f"{document}, row 1")):
        with pytest.raises(UsageError) as caught:
            load(path)
        assert caught.value.message == f"{place}: {message}"


@pytest.mark.parametrize("row", [row for row, _ in BAD[:11]], ids=str)
def test_the_messages_are_those_of_loading_tasks(tmp_path: Path, row: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(row)
    with pytest.raises(UsageError) as expected:
        collect_tasks(path)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert (caught.value.message, caught.value.hint) == (expected.value.message, expected.value.hint)


@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.json", "tasks.py"])
def test_duplicate_slugs_are_named(tmp_path: Path, name: str) -> None:
    rows = [{"env": "e", "id": "t", "slug": f"s{index % 12}"} for index in range(24)]
    path = written(tmp_path, rows, name)
    if name == "tasks.py":
        made = ", ".join(f"Task('e', 't', slug={row['slug']!r})" for row in rows)
        path.write_text(f"from hud import Task\ntasks = [{made}]")
    with pytest.raises(UsageError, match=r"^duplicate task slugs in .*: s0, s1, s2"):
        load(path)


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b'{"env": "e", "id": "t"}\n{"env": \n')
    with pytest.raises(UsageError, match=r"tasks.jsonl:2 is not JSON: Expecting value"):
        load(path)
    path.write_bytes(b'{"env": "e", "id": "\xff"}\n')
    with pytest.raises(UsageError, match=r"tasks.jsonl:1 is not UTF-8: invalid start byte at byte 20"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"[[[[", b"\xff", b"[" * 100_000, b'"text"', b"null", b"[null]"])
@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.json"])
def test_hostile_files_are_refused_or_empty(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if content in (b"", b"[]") and len(content) == (0 if name == "tasks.jsonl" else 2):
        assert len(load(path)) == 0
    else:
        with pytest.raises(UsageError, match=re.escape(str(path))):
            load(path)


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_row(tmp_path: Path) -> None:
    row = b'{"env": "e", "id": "t", "args": {"text": "a"}, "slug": "s"}'
    lines, document = tmp_path / "tasks.jsonl", tmp_path / "tasks.json"
    lines.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\r\n" + row.replace(b'"s"', b'"s2"') + b"\r\n")
    document.write_bytes(b"\xef\xbb\xbf  " + row)
    assert [row["slug"] for row in load(lines).rows({"s", "s2"})] == ["s", "s2"]
    assert [row["slug"] for row in load(document).rows({"s"})] == ["s"]


def test_arguments_of_ten_megabytes_are_carried(tmp_path: Path) -> None:
    text = "grün\n" * 2_000_000
    path = written(tmp_path, [{"env": "e", "id": "t", "args": {"text": text}, "slug": "s"}], "tasks.jsonl")
    (row,) = load(path).rows(["s"])
    assert row["args"]["text"] == text


def test_rows_of_python_sources_are_as_json_carries_them(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from hud import Task\nt = Task('e', 't', {'a': (1, 2.0), 'b': {1: None}})\n")
    local = load(tmp_path / "tasks.py")
    (row,) = local.rows(local.digests)
    assert row["args"] == {"a": [1, 2.0], "b": {"1": None}}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{1}", "is a set, which JSON cannot carry"),
        ("b''", "is a bytes, which JSON cannot carry"),
        ("float('nan')", "is NaN, which JSON has no number for"),
    ],
)
def test_what_json_cannot_carry_is_refused_in_python_sources(tmp_path: Path, value: str, words: str) -> None:
    (tmp_path / "tasks.py").write_text(f"from hud import Task\nt = Task('e', 't', {{'a': [{value}]}}, slug='s')\n")
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "tasks.py")
    assert caught.value.message == f"task 's': args.a[0] {words}"


def test_a_file_that_changes_while_it_is_synced_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, [{"env": "e", "id": "t", "slug": "s"}, {"env": "e", "id": "u", "slug": "v"}], "t.jsonl")
    local = load(path)
    path.write_text('{"env": "e", "id": "other", "slug": "s"}\n')
    for slugs in (["s"], ["v"]):
        with pytest.raises(HudError, match="has changed while it was synced"):
            list(local.rows(slugs))


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    for name in ("x.json", "x.jsonl", "x.py", "x"):
        with pytest.raises(NotFoundError, match="no such file or folder"):
            load(tmp_path / name)


def test_every_finite_number_arrives_as_it_was_written(tmp_path: Path) -> None:
    numbers = [1, 1.0, -0.0, 1e16, 1e-5, 5e-324, 2**70, 0.1, 1e22, math.pi]
    path = written(tmp_path, [{"env": "e", "id": "t", "args": {"n": numbers}, "slug": "s"}], "tasks.jsonl")
    (row,) = load(path).rows(["s"])
    assert [repr(number) for number in row["args"]["n"]] == [repr(number) for number in numbers]
