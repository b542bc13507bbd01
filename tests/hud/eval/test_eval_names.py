"""The names that users import from `hud.eval`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hud.eval

_AFTER_EVERY_MODULE = """
from hud import Taskset, LocalRuntime, SubprocessRuntime, Shared
import hud.eval, types
print([name for name in hud.eval.__all__ if isinstance(getattr(hud.eval, name), types.ModuleType)])
"""


def test_a_public_name_is_the_thing_whatever_was_imported_before() -> None:
    done = subprocess.run([sys.executable, "-c", _AFTER_EVERY_MODULE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Rollout'"):
        hud.eval.Rollout  # noqa: B018  # reading it is the act
