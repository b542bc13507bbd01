"""Exported files: complete, and read back as the same rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hud.errors import HudError, UsageError
from hud.sync.export import write
from hud.sync.rows import load
from hud.sync.signature import digest

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5) | st.sampled_from(
    ["=1+1", "-2", "@x", '"', '"a"', "1", "null", "a\nb", "a\r", "\ta", ",", "NaN", "{}", " "]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | st.just(""),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=3)
ROWS = st.fixed_dictionaries(
    {"slug": TEXT, "env": TEXT, "id": TEXT, "args": OBJECTS},
    optional={
        "columns": OBJECTS,
        "agent_config": OBJECTS,
        "validation": st.lists(OBJECTS, max_size=2),
        "runtime_config": st.just({"image": "a", "resources": {"cpu": 2.0}}),
        "verifier": st.fixed_dictionaries({"env": TEXT, "id": TEXT, "args": OBJECTS, "slug": TEXT}),
    },
)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, max_size=4, unique_by=lambda row: str(row["slug"])))
def test_what_is_exported_is_read_back(tmp_path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / name
    assert write(path, rows) == len(rows)
    assert load(path).digests == {row["slug"]: digest(row) for row in rows}


def test_a_csv_has_the_columns_that_the_public_client_writes_and_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows: list[dict[str, Any]] = [
        {"slug": "a", "env": "e", "id": "t", "args": {"word": "straw", "n": 1}},
        {"slug": "b", "env": "e", "id": "t", "args": {"word": "1"}, "columns": {"difficulty": "easy"}},
    ]
    write(path, rows)
    assert list(csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))) == [
        ["slug", "id", "env", "arg:n", "arg:word", "columns"],
        ["a", "t", "e", "1", "straw", ""],
        ["b", "t", "e", "", '"1"', '{"difficulty": "easy"}'],
    ]


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write(path, [{"slug": "=cmd()", "env": "@e", "id": "+t", "args": {"x": "=1+1", "y": "-1"}}])
    cells = [cell for line in csv.reader(io.StringIO(path.read_bytes().decode(), newline="")) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_a_csv_of_the_public_client_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("slug,id,env,arg:letter,arg:word\ncount-759529a8,count,letter-env,r,strawberry\n")
    (row,) = load(path).rows(["count-759529a8"])
    assert row["args"] == {"letter": "r", "word": "strawberry"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slug,env\na,e\n", "has no column 'id'"),
        ("id,env,word\nt,e,a\n", "has the column 'word'"),
        ("id,env,id\nt,e,t\n", "has the column 'id' twice"),
        ("id,env\nt\n", ":2 has 1 cells, and the header 2"),
        ("id,env,columns\nt,e,x\n", ":2: columns is no JSON: 'x'"),
        ("id,env,arg:x\nt,e,NaN\n", ":2: args.x is NaN, which JSON has no number for"),
        ('id,env\n"t,e\n', "is no CSV: unexpected end of data"),
        ("slug,id,env\na,t,e\na,u,e\n", "duplicate task slugs in "),
        ("id,env\n,e\n", ":2: a task row needs 'id'"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_by_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert message in caught.value.message


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("precious")
    with pytest.raises(TypeError):
        write(path, [{"slug": "a", "args": {"x": {1}}}])
    with pytest.raises(UsageError, match=r"neither .json, .jsonl nor .csv"):
        write(tmp_path / "rows.txt", [])
    with pytest.raises(HudError, match="cannot write"):
        write(tmp_path / "gone" / "rows.json", [])
    assert path.read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.json"]


def test_text_is_readable_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write(path, [{"slug": "a", "env": "e", "id": "t", "args": {"word": "grün"}}])
    assert "grün" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8"))["args"] == {"word": "grün"}
