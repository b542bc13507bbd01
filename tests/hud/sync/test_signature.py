"""The canonical form of a row and its digest (platform API specification, section 7.2)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.errors import UsageError
from hud.eval.task import default_slug
from hud.sync.signature import canonical, canonical_json, digest, taskset_digest

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just(2**70)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
ROW: dict[str, Any] = {"env": "letter-env", "id": "count", "args": {"word": "strawberry", "letter": "r"}}


def test_the_vectors_of_the_specification() -> None:
    assert canonical({**ROW, "slug": "count-759529a8"}) == (
        b'{"args":{"letter":"r","word":"strawberry"},"env":"letter-env","id":"count"}'
    )
    assert default_slug("count", {"letter": "r", "word": "strawberry"}) == "count-759529a8"
    assert default_slug("t", {"a": 1.0, "u": "é"}) == "t-0a539be5"


@given(JSON)
def test_the_form_is_that_of_pythons_json_to_the_bit(value: Any) -> None:
    exact = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(value) == exact.encode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_has_one_form(number: float) -> None:
    assert canonical_json([number]) == f"[{number!r}]".encode()


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_the_order_of_keys_and_the_slug_do_not_count(args: dict[str, Any]) -> None:
    turned = {"args": dict(reversed(args.items())), "slug": "another", "id": "count", "env": "letter-env"}
    assert digest({**ROW, "args": args}) == digest(turned)


@given(JSON)
def test_a_row_means_the_same_after_a_trip_through_json(value: Any) -> None:
    row = {**ROW, "args": {"value": value}, "columns": {"value": value}}
    assert digest(json.loads(json.dumps(row))) == digest(row)


@pytest.mark.parametrize(
    "change",
    [
        {"env": "other-env"},
        {"args": {"n": 1}},
        {"args": {"n": 1.0}},
        {"args": {"n": None}},
        {"args": {}},
        {"columns": {}},
        {"columns": {"x": None}},
        {"validation": []},
        {"agent_config": {"max_steps": 3}},
        {"runtime_config": {"image": "a"}},
        {"verifier": {"env": "judge-env", "id": "judge"}},
        {"verifier": {"env": "judge-env", "id": "judge", "slug": "mine"}},
    ],
    ids=str,
)
def test_everything_else_counts(change: dict[str, Any]) -> None:
    others = [ROW, {**ROW, "args": {"n": 2}}, {**ROW, "columns": {"x": 1}}]
    assert digest({**ROW, **change}) not in {digest(other) for other in others}


@pytest.mark.parametrize("name", ["validation", "agent_config", "columns", "runtime_config", "verifier"])
def test_null_is_not_set(name: str) -> None:
    assert digest({**ROW, name: None}) == digest(ROW)


def test_no_arguments_are_an_empty_object() -> None:
    assert canonical({"env": "e", "id": "t"}) == canonical({"env": "e", "id": "t", "args": None})
    assert canonical({"env": {"name": "e"}, "id": "t"}) == b'{"args":{},"env":"e","id":"t"}'


def test_a_runtime_config_that_says_the_same_in_other_words_is_the_same() -> None:
    short = {"resources": {"cpu": 2, "gpu": {"type": "H100"}}, "limits": {"run_timeout_s": 600}}
    long = {
        "image": None,
        "resources": {"cpu": 2.0, "memory_mb": None, "gpu": {"type": "H100", "count": 1}},
        "limits": {"run_timeout_s": 600.0},
    }
    assert canonical({**ROW, "runtime_config": short}) == canonical({**ROW, "runtime_config": long})
    assert b'"cpu":2.0' in canonical({**ROW, "runtime_config": short})


def test_a_runtime_config_of_a_newer_client_is_compared_as_it_is() -> None:
    newer = {"image": "a", "moons": {"count": 1}}
    assert b'"runtime_config":{"image":"a","moons":{"count":1}}' in canonical({**ROW, "runtime_config": newer})


def test_a_verifier_gets_the_slug_it_would_have() -> None:
    verifier = {"env": "judge-env", "id": "judge", "args": {"k": 2}}
    assert b'"slug":"judge-e3d67ba2"' in canonical({**ROW, "verifier": verifier})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "Out of range float values are not JSON compliant"),
        (float("-inf"), "Out of range float values are not JSON compliant"),
        ("\ud800", "half of a surrogate pair"),
        ({1: "a", "b": 2}, "not supported between instances"),
    ],
    ids=["nan", "infinity", "surrogate", "keys"],
)
def test_what_json_cannot_carry_is_refused_by_name(value: object, words: str) -> None:
    with pytest.raises(UsageError, match=f"^task 'mine' holds .*{words}"):
        canonical({**ROW, "slug": "mine", "args": {"value": [value]}})


def test_a_digest_is_sha1_of_the_form() -> None:
    assert digest(ROW) == hashlib.sha1(canonical(ROW)).digest()
    assert digest(ROW).hex() == "1f6539ef9ec490e99fcce9fa9d7857621f26b4ed"


def test_a_tasksets_digest_names_its_content_whatever_the_order() -> None:
    one, two = digest(ROW), digest({**ROW, "id": "other"})
    assert taskset_digest({"a": one, "b": two}) == taskset_digest({"b": two, "a": one})
    assert len({taskset_digest(rows) for rows in ({}, {"a": one}, {"b": one}, {"a": two}, {"a": one, "b": two})}) == 5
