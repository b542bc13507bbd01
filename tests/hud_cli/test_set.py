"""`hud set`: settings that are kept in ~/.hud/.env."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.hud_cli.conftest import Hud


def path(variables: dict[str, str]) -> Path:
    return Path(variables["HOME"]) / ".hud" / ".env"


def test_a_setting_is_kept_for_its_owner_alone(hud: Hud, variables: dict[str, str]) -> None:
    done = hud("set", "HUD_API_KEY=sk-1", "HUD_DEFAULT_PROJECT=it's mine")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"Kept in {path(variables)}: HUD_API_KEY, HUD_DEFAULT_PROJECT.\n"
    assert path(variables).read_text().endswith('HUD_API_KEY=sk-1\nHUD_DEFAULT_PROJECT="it\'s mine"\n')
    assert stat.S_IMODE(path(variables).stat().st_mode) == 0o600


def test_other_settings_stay_and_one_without_a_value_goes(hud: Hud, variables: dict[str, str]) -> None:
    hud("set", "A=1", "B=a=b", "C=3")
    done = hud("set", "C=4", "A=", "--json")
    assert json.loads(done.out) == {"kept": ["C"], "removed": ["A"], "path": str(path(variables))}
    assert path(variables).read_text().endswith(".\nB='a=b'\nC=4\n")


@pytest.mark.parametrize("words", [["HUD_API_KEY"], ["=1"], [], ["A=1", "B"], ["A B=1"], ["A=1\n2"]])
def test_a_malformed_item_is_a_usage_error_and_nothing_is_written(
    hud: Hud, variables: dict[str, str], words: list[str]
) -> None:
    assert hud("set", *words).code == 2
    assert not path(variables).exists()


def test_a_key_whose_name_was_forgotten_is_not_repeated(hud: Hud) -> None:
    done = hud("set", "sk-very-secret", "--json")
    assert json.loads(done.out)["error"] == "usage"
    assert "sk-very-secret" not in done.out + done.err


@pytest.mark.parametrize("item", ["HUD_API_URL=api.hud.ai", "HUD_RETRY_LIMIT_S=soon", "HUD_API_KEY=two words"])
def test_a_value_that_no_command_could_use_is_refused(hud: Hud, variables: dict[str, str], item: str) -> None:
    assert hud("set", item).code == 2
    assert not path(variables).exists()


def test_a_setting_that_another_hides_is_said_to_be(hud: Hud, source: Path) -> None:
    (source / ".env").write_text("HUD_API_KEY=here\n")
    done = hud("set", "HUD_API_KEY=sk-1")
    assert done.err.endswith("HUD_API_KEY has another value here: the environment or ./.env comes first.\n")


def test_a_home_that_cannot_be_written_is_an_error_with_its_name(hud: Hud, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hud("set", "A=1", HOME=str(tmp_path / "file"))
    assert done.code == 1
    assert done.err == f"Error: cannot make {tmp_path}/file/.hud: Not a directory\n"
