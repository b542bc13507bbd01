"""The conformance table of the control-channel specification, section 11, against the tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
RULES = {f"{number:02}" for number in range(1, 63)}
OF_THE_COMMAND_LINE = {f"{number:02}" for number in range(58, 63)}

_NAMED = re.compile(r"^(?:async )?def test_(?:cc_(\d\d)_\w+|\w+\([^)]*\)[^:]*:\n    \"\"\"CC-(\d\d))", re.MULTILINE)


def rules_tested_in(folder: Path) -> set[str]:
    """Give the rules that tests name, as `test_cc_31_…` or at the beginning of their docstring."""
    found = {groups for file in folder.rglob("test_*.py") for groups in _NAMED.findall(file.read_text())}
    return {in_name or in_docstring for in_name, in_docstring in found}


def test_every_rule_of_the_channel_has_a_test() -> None:
    assert rules_tested_in(TESTS / "hud") >= RULES - OF_THE_COMMAND_LINE


def test_every_rule_of_the_command_line_has_a_test() -> None:
    assert rules_tested_in(TESTS / "hud_cli") >= OF_THE_COMMAND_LINE


def test_no_test_names_a_rule_that_is_none() -> None:
    assert rules_tested_in(TESTS) <= RULES
