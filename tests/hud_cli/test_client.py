"""`hud client`: what older scripts call."""

from __future__ import annotations

import json

from tests.hud_cli.conftest import Hud, Served


def test_info_shows_identity_tasks_and_capabilities(hud: Hud, served: Served) -> None:
    done = hud("client", "info", "--url", served.url)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:4] == ["probe 1.2.3", "", "Tasks:", "  add  (a, b=2)  Adds two numbers."]
    assert lines[-2:] == ["Capabilities:", "  none"]


def test_info_as_json(hud: Hud, served: Served) -> None:
    shown = json.loads(hud("client", "info", "--url", served.url, "--json").out)
    assert shown["env"] == {"name": "probe", "version": "1.2.3"}
    assert [task["id"] for task in shown["tasks"]] == ["add", "echo", "chat", "big", "odd"]


def test_run_prints_the_reward(hud: Hud, served: Served) -> None:
    done = hud("client", "run", "add", "--args", '{"a": 4}', "--answer", "6", "--url", served.url)
    assert (done.code, done.out, done.err) == (0, "1.0\n", "")
