"""What a script that stands beside an environment may not do while it is imported."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from hud.environment.source import collect_tasks, load_environment
from hud.errors import EnvironmentLoadError

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = """
from hud import Environment

env = Environment("letters")


@env.template()
async def count(letter: str):
    answer = yield f"How many {letter}?"
    yield 1.0
"""

SCRIPT = """
import asyncio
from pathlib import Path

from env import count, env
from hud import LocalRuntime


async def agent(run):
    Path("started").touch()


job = asyncio.run(count(letter="r").run(agent, runtime=LocalRuntime(env)))
"""


def test_a_script_without_a_main_guard_runs_no_tasks_when_its_folder_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.py").write_text(SCRIPT)
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    with caplog.at_level(logging.WARNING):
        assert [task.id for task in collect_tasks(".")] == ["count"]
    assert not (tmp_path / "started").exists()
    assert "agent.py is left out: it runs tasks while imported; do that under if __name__" in caplog.text


def test_a_file_that_runs_tasks_while_imported_is_refused_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "agent.py").write_text(SCRIPT)
    with pytest.raises(EnvironmentLoadError, match=r"agent\.py:13: .*runs tasks while imported"):
        load_environment("agent.py")
    assert not (tmp_path / "started").exists()
