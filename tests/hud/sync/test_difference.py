"""The field-level difference of two rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.sync.difference import Change, applied, difference, lines, path_text, shown
from hud.sync.signature import digest, settled

KEYS = st.text(st.characters(codec="utf-8"), max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0]) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)
ROWS = st.fixed_dictionaries(
    {"env": st.sampled_from(["e", "f"]), "id": st.just("t"), "args": OBJECTS},
    optional={
        "columns": OBJECTS,
        "agent_config": OBJECTS,
        "validation": st.lists(OBJECTS, max_size=2),
        "runtime_config": st.sampled_from([{"image": "a"}, {"resources": {"cpu": 2}}, {"resources": {"cpu": 1.5}}]),
        "verifier": st.fixed_dictionaries({"env": st.just("j"), "id": st.just("judge"), "args": OBJECTS}),
    },
)
ROW: dict[str, Any] = {"env": "e", "id": "t", "args": {"word": "a"}}


@given(ROWS, ROWS)
def test_applying_the_difference_gives_the_other_row(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert digest(applied(before, difference(before, after))) == digest(after)


@given(ROWS, ROWS)
def test_there_is_a_difference_when_the_digests_differ_and_only_then(before: Any, after: Any) -> None:
    assert bool(difference(before, after)) == (digest(before) != digest(after))


@given(ROWS, ROWS)
def test_every_difference_can_be_said(before: dict[str, Any], after: dict[str, Any]) -> None:
    said = list(lines(difference(before, after)))
    assert bool(said) == bool(difference(before, after))
    assert all(line.isprintable() for line in said)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"args": {"word": "b"}}, 'args.word: "a" → "b"'),
        ({"args": {"word": "a", "n": 1}}, "args.n added: 1"),
        ({"args": {}}, 'args.word removed: "a"'),
        ({"columns": {"difficulty": "easy"}}, 'columns added: {"difficulty": "easy"}'),
        ({"env": "other"}, 'env: "e" → "other"'),
        ({"args": {"word": ["a", "b"]}}, 'args.word: "a" → ["a", "b"]'),
        ({"args": {"word": "grün"}}, 'args.word: "a" → "grün"'),
    ],
    ids=str,
)
def test_a_change_is_one_line(change: dict[str, Any], line: str) -> None:
    assert list(lines(difference(ROW, {**ROW, **change}))) == [line]


def test_one_and_one_point_nought_and_true_are_three_things() -> None:
    changes = difference({**ROW, "args": {"a": 1, "b": 1, "c": 1}}, {**ROW, "args": {"a": 1.0, "b": True, "c": 1}})
    assert list(lines(changes)) == ["args.a: 1 → 1.0", "args.b: 1 → true"]


def test_lists_of_one_length_are_compared_item_by_item() -> None:
    changes = difference({**ROW, "args": {"words": ["a", "b"]}}, {**ROW, "args": {"words": ["a", "c"]}})
    assert changes == [Change(path=("args", "words", 1), kind="changed", before="b", after="c")]
    assert path_text(changes[0].path) == "args.words[1]"


def test_texts_of_several_lines_are_shown_as_a_unified_difference() -> None:
    before = "You are a helper.\nCount the letters.\nAnswer with a number.\n"
    changes = difference(
        {**ROW, "args": {"prompt": before}}, {**ROW, "args": {"prompt": before.replace("letters", "vowels")}}
    )
    assert list(lines(changes)) == [
        "args.prompt:",
        "    @@ -1,3 +1,3 @@",
        "     You are a helper.",
        "    -Count the letters.",
        "    +Count the vowels.",
        "     Answer with a number.",
    ]


def test_long_texts_are_cut_to_where_they_differ() -> None:
    before, after = "x" * 500 + "old" + "y" * 500, "x" * 500 + "new" + "y" * 500
    (line,) = lines(difference({**ROW, "args": {"word": before}}, {**ROW, "args": {"word": after}}))
    assert "xold" in line
    assert "xnew" in line
    assert len(line) < 200


def test_texts_of_megabytes_are_not_compared_line_by_line() -> None:
    before, after = "a\n" * 5_000_000, "a\n" * 4_999_999 + "b\n"
    (line,) = lines(difference({**ROW, "args": {"word": before}}, {**ROW, "args": {"word": after}}))
    assert line == "args.word: 10,000,000 → 10,000,000 characters, different from character 9,999,998 on"


def test_a_terminal_does_not_obey_what_a_row_holds() -> None:
    escape = "\x1b]0;title\x07\x9b31m\u202e"
    (line,) = lines(difference(ROW, {**ROW, "args": {"word": escape, escape: 1}})[1:])
    assert line.isprintable()
    assert shown(escape) == r"\x1b]0;title\x07\x9b31m\u202e"


def test_applying_leaves_the_row_alone() -> None:
    before = {**ROW, "args": {"words": ["a"]}}
    applied(before, difference(before, {**ROW, "args": {"words": ["b"]}}))
    assert settled(before)["args"] == {"words": ["a"]}
