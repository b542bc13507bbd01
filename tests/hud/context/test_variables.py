"""The variables of a deployed environment (CLI specification, section 2.2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.context import variables
from hud.errors import NotFoundError, UsageError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=value", "value"),
        ("KEY=", ""),
        ("KEY='single'", "single"),
        ('KEY="double"', "double"),
        ("KEY=\"'both'\"", "'both'"),
        ("KEY=value # a comment", "value"),
        ("KEY=value#none", "value#none"),
        ("KEY='value # none'", "value # none"),
        ("KEY=${HOME}/$x", "${HOME}/$x"),
        ("KEY=a=b", "a=b"),
        (r"KEY='a\nb'", r"a\nb"),
        ("  KEY = spaced  ", "spaced"),
        ("export KEY=value", "value"),
        ("KEY=value\r", "value"),
    ],
)
def test_a_line_is_read_without_interpolation(line: str, value: str) -> None:
    assert variables.parse(f"# first\n\n{line}\n") == {"KEY": value}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "prod.env:2 is no variable"),
        ("=value", "prod.env:2 is no variable"),
        ("MY-KEY=1", "prod.env:2 names a variable 'MY-KEY'"),
        ("1KEY=1", "prod.env:2 names a variable '1KEY'"),
        ("KEY=a\0b", "prod.env:2 has a NUL in its value"),
    ],
)
def test_a_line_that_is_none_is_named_by_its_number_and_not_shown(line: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        variables.parse(f"A=1\n{line}\n", name="prod.env")
    assert refused.value.message == message


_name = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_value = st.text(st.characters(exclude_characters="\n\r\0'", exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(_name, _value, max_size=5))
def test_single_quotes_keep_any_value(values: dict[str, str]) -> None:
    assert variables.parse("".join(f"{name}='{value}'\n" for name, value in values.items())) == values


def test_a_file_that_is_missing_or_not_utf8_is_said(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    with pytest.raises(NotFoundError, match=f"^no such file: {file}$"):
        variables.read_env_file(file)
    file.write_bytes(b"A=1\nB=caf\xe9\n")
    with pytest.raises(UsageError, match=f"^{file}:2 is not UTF-8$"):
        variables.read_env_file(file)
