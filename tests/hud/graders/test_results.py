"""Structured evaluations: section 10 of the command-line and SDK specification."""

from __future__ import annotations

from typing import Any

import pytest

from hud.errors import UsageError
from hud.graders import EvaluationResult, SubScore


def test_further_keywords_and_attributes_become_keys_of_the_frame() -> None:
    result = EvaluationResult(reward=1, checked_by="hand")
    result.seconds = 3
    assert (result.checked_by, result.seconds) == ("hand", 3)
    assert result.to_frame() == {
        "done": True, "content": None, "info": {}, "isError": False, "subscores": None,
        "checked_by": "hand", "seconds": 3, "score": 1.0,
    }  # fmt: skip


def test_the_reward_of_a_frame_is_the_one_it_was_set_to_last() -> None:
    result = EvaluationResult.from_float(0.25)
    result.reward = True
    assert result.to_frame()["score"] == 1.0


def test_parts_may_be_written_as_plain_mappings() -> None:
    plain = EvaluationResult(subscores=[{"name": "a", "value": 1, "children": [{"name": "b", "value": 0.5}]}])
    built = [SubScore(name="a", value=1.0, children=[SubScore(name="b", value=0.5)])]
    assert plain.subscores == built
    assert plain == EvaluationResult(subscores=built)


def test_metadata_is_another_name_for_info() -> None:
    evidence = {"passed": 3}
    assert SubScore(name="a", value=1, metadata=evidence) == SubScore(name="a", value=1, info=evidence)
    assert SubScore.from_dict({"name": "a", "value": 1, "metadata": evidence}).info == evidence


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "1"], ids=repr)
def test_a_part_outside_of_zero_and_one_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"sub-score 'a' has the value .*: give one between 0 and 1"):
        SubScore(name="a", value=value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "a", "value": 1, "score": 1}, "a sub-score has no field 'score'"),
        ({"value": 1}, "a sub-score needs a name and a numeric value"),
        ({"name": "a", "value": "1"}, "a sub-score needs a name and a numeric value"),
    ],
    ids=["unknown", "nameless", "text"],
)
def test_a_malformed_part_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EvaluationResult(subscores=[row])


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -float("inf")], ids=repr)
def test_a_non_finite_reward_is_refused(reward: float) -> None:
    with pytest.raises(UsageError, match="a reward is a finite number"):
        EvaluationResult(reward=reward)
