"""`.env` files: what is read, and that what is written is read back exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud import env_file

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\0"), max_size=30)
LINES = st.one_of(
    st.text(max_size=30),
    st.builds("{}={}".format, NAMES, st.text(alphabet="ab '\"#\\=$\t", max_size=12)),
    st.builds("export {} = '{}' # why".format, NAMES, VALUES),
)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("  A = 1 2  ", "1 2"),
        ("A=1 # why", "1"),
        ("A=1#2", "1#2"),
        ("A=# why", ""),
        ("A='1 # 2'", "1 # 2"),
        ("A='1' # why", "1"),
        ('A="it\'s"', "it's"),
        ("A='it's'", "it's"),
        ("A='1", "'1"),
        ("A=''", ""),
        ("A='", "'"),
        ("A=$HOME\\n", "$HOME\\n"),
        ("A=1=2", "1=2"),
        ("A=1\r", "1"),
        ("\ufeffA=1", "1"),
        ("A=0\nA=1", "1"),
    ],
)
def test_a_line_gives_a_value(line: str, value: str) -> None:
    assert env_file.parse(line + "\n") == {"A": value}


@pytest.mark.parametrize("line", ["", "# A=1", "A", "=1", "A B=1", "export", "#A=1"])
def test_a_line_that_is_no_setting_gives_none(line: str) -> None:
    assert env_file.parse(line) == {}


def test_a_file_that_is_not_there_has_no_values(tmp_path: Path) -> None:
    assert env_file.read(tmp_path / ".env") == {}
    assert env_file.read(tmp_path) == {}


@given(st.lists(LINES, max_size=8).map("\n".join), st.dictionaries(NAMES, st.none() | VALUES, max_size=5))
def test_what_is_written_is_read_back_and_the_rest_stays(text: str, values: dict[str, str | None]) -> None:
    before = env_file.parse(text)
    after = env_file.parse(env_file.rewrite(text, values))
    for name in {*before, *values}:
        assert after.get(name) == (values[name] if name in values else before.get(name))


@given(st.lists(LINES, max_size=8).map("\n".join), st.dictionaries(NAMES, st.none() | VALUES, max_size=5))
def test_writing_twice_changes_nothing_more(text: str, values: dict[str, str | None]) -> None:
    once = env_file.rewrite(text, values)
    assert env_file.rewrite(once, values) == once


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert all("\n" not in value for value in env_file.parse(text).values())
