"""What is configured, from where, and to whom a key may go."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hud import settings
from hud.errors import HudError, UsageError

OWN = "http://127.0.0.1:8700"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and an empty current folder in which no setting of this machine shows."""
    for name in [name for name in os.environ if name.startswith("HUD_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def keep(home: Path, text: str) -> None:
    (home / ".hud").mkdir(exist_ok=True)
    (home / ".hud" / ".env").write_text(text)


def test_without_any_setting_the_addresses_are_the_public_services(home: Path) -> None:
    found = settings.load()
    assert found.api_key is None
    assert (found.api_url, found.web_url) == ("https://api.hud.ai", "https://hud.ai")
    assert found.telemetry_url == "https://telemetry.hud.ai/v3/api"
    assert (found.runtime_url, found.gateway_url, found.rl_url) == (
        "https://mcp.hud.ai",
        "https://inference.hud.ai",
        "https://rl.hud.ai",
    )
    assert found.source_of["HUD_API_URL"] == "default"


def test_the_highest_source_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(home, "HUD_API_KEY=home\n")
    assert (settings.load().api_key, settings.load().source_of["HUD_API_KEY"]) == ("home", "~/.hud/.env")
    Path(".env").write_text("HUD_API_KEY=folder\n")
    assert (settings.load().api_key, settings.load().source_of["HUD_API_KEY"]) == ("folder", "./.env")
    monkeypatch.setenv("HUD_API_KEY", "environment")
    assert settings.load().api_key == "environment"
    assert settings.load({"HUD_API_KEY": "caller"}).api_key == "caller"


def test_a_setting_without_a_value_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(home, "HUD_API_KEY=home\n")
    monkeypatch.setenv("HUD_API_KEY", " ")
    assert settings.load({"HUD_API_KEY": None}).api_key == "home"


def test_weakness_21_an_address_of_the_folder_does_not_get_the_stored_key(home: Path) -> None:
    keep(home, "HUD_API_KEY=stored\n")
    Path(".env").write_text("HUD_API_URL=https://evil.test/api\n")
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert str(caught.value) == "./.env sends the key of ~/.hud/.env to https://evil.test (HUD_API_URL)"
    assert caught.value.hint is not None
    assert "export HUD_API_URL=https://evil.test/api" in caught.value.hint


@pytest.mark.parametrize("name", settings.ADDRESSES)
def test_weakness_21_holds_for_every_service(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUD_API_KEY", "exported")
    Path(".env").write_text(f"{name}=https://evil.test\n")
    with pytest.raises(UsageError, match="sends the key of the environment to"):
        settings.load()


def test_an_address_of_the_folder_gets_the_folders_own_key(home: Path) -> None:
    keep(home, "HUD_API_KEY=stored\n")
    Path(".env").write_text(f"HUD_API_KEY=own\nHUD_API_URL={OWN}/\n")
    found = settings.load()
    assert (found.api_key, found.api_url) == ("own", OWN)


def test_an_address_of_the_folder_counts_where_there_is_no_key_to_lose(home: Path) -> None:
    Path(".env").write_text(f"HUD_API_URL={OWN}\n")
    assert settings.load().api_url == OWN


def test_the_key_of_a_private_platform_goes_to_no_public_host(home: Path) -> None:
    found = settings.load({"HUD_API_KEY": "own", "HUD_API_URL": f"{OWN}/prefix", "HUD_RL_URL": "http://rl.test"})
    assert (found.web_url, found.runtime_url, found.gateway_url) == (OWN, OWN, OWN)
    assert (found.telemetry_url, found.rl_url) == (f"{OWN}/v3/api", "http://rl.test")


@pytest.mark.parametrize(
    "value",
    ["api.hud.ai", "ftp://api.hud.ai", "http://", "http://h:99999", "http://u:p@h", "http://h/?key=1", "http://h /"],
)
def test_an_address_that_is_none_is_refused_by_its_source(home: Path, value: str) -> None:
    keep(home, f"HUD_API_URL='{value}'\n")
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert str(caught.value) == f"HUD_API_URL of ~/.hud/.env is no http address: {value!r}"


@pytest.mark.parametrize("key", ["two words", "ключ", "a\tb"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(home: Path, key: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings.load({"HUD_API_KEY": key})
    assert key not in str(caught.value)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_pa_39_the_bound_on_waits_is_a_number_of_seconds(home: Path, value: str) -> None:
    assert settings.load({"HUD_RETRY_LIMIT_S": "2.5"}).retry_limit_s == 2.5
    with pytest.raises(UsageError, match="is no number of seconds"):
        settings.load({"HUD_RETRY_LIMIT_S": value})


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.hud.ai:443/v2", "https://api.hud.ai"),
        ("http://h:80", "http://h"),
        ("http://h:443/", "http://h:443"),
        ("http://[::1]:8700/x", "http://[::1]:8700"),
    ],
)
def test_an_origin_is_scheme_host_and_a_port_of_its_own(url: str, origin: str) -> None:
    assert settings.origin(url) == origin


def test_a_settings_object_does_not_show_its_key(home: Path) -> None:
    assert "secret" not in repr(settings.load({"HUD_API_KEY": "secret"}))


def test_weakness_22_what_is_saved_only_its_owner_reads(home: Path) -> None:
    (home / ".hud").mkdir(mode=0o755)
    keep(home, "HUD_API_KEY=old\n")
    settings.save({"HUD_API_KEY": "new"})
    path = settings.stored_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [".env"]


def test_saving_keeps_everything_else(home: Path) -> None:
    keep(home, "# mine\nOTHER='a b'\nHUD_API_KEY=old\nexport ZED=1\n")
    settings.save({"HUD_API_KEY": "new", "HUD_DEFAULT_PROJECT": "it's mine", "ZED": None})
    assert settings.stored_path().read_text() == (
        "# mine\nOTHER='a b'\nHUD_API_KEY=new\nHUD_DEFAULT_PROJECT=\"it's mine\"\n"
    )
    assert settings.load().default_project == "it's mine"


def test_saving_follows_a_symbolic_link(home: Path) -> None:
    target = home / "dotfiles"
    target.write_text("A=1\n")
    (home / ".hud").mkdir()
    (home / ".hud" / ".env").symlink_to(target)
    settings.save({"B": "2"})
    assert (home / ".hud" / ".env").is_symlink()
    assert target.read_text() == "A=1\nB=2\n"


@pytest.mark.parametrize(
    "values", [{"A": "1\n2"}, {"A": "1\r2"}, {"A": "\0"}, {"A B": "1"}, {"": "1"}, {"A": "\ud800"}]
)
def test_what_a_line_cannot_hold_is_refused_and_nothing_is_written(home: Path, values: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        settings.save({"GOOD": "1", **values})
    assert not settings.stored_path().exists()


def test_a_place_that_cannot_be_written_is_named(home: Path) -> None:
    (home / ".hud").write_text("a file")
    with pytest.raises(HudError) as caught:
        settings.save({"A": "1"})
    assert str(caught.value) == f"cannot make {home / '.hud'}: File exists"


def test_a_key_of_another_platform_moves_to_a_name_of_its_own(home: Path) -> None:
    keep(home, "HUD_API_KEY=public\nHUD_RL_URL=https://rl.hud.ai\n")
    assert settings.keep_key("own", api_url=OWN) == "HUD_API_KEY_OF_API_HUD_AI"
    assert settings.stored_path().read_text() == (
        f"HUD_API_KEY=own\nHUD_API_URL={OWN}\nHUD_API_KEY_OF_API_HUD_AI=public\n"
    )
    assert settings.keep_key("public2", api_url="https://api.hud.ai") == "HUD_API_KEY_OF_127_0_0_1_8700"
    assert settings.stored_path().read_text() == "HUD_API_KEY=public2\nHUD_API_KEY_OF_127_0_0_1_8700=own\n"


def test_a_new_key_of_the_same_platform_takes_the_old_ones_place(home: Path) -> None:
    keep(home, f"HUD_API_KEY=old\nHUD_API_URL={OWN}\nHUD_WEB_URL=http://web.test\n")
    assert settings.keep_key("new", api_url=OWN) is None
    assert settings.stored_path().read_text() == f"HUD_API_KEY=new\nHUD_API_URL={OWN}\nHUD_WEB_URL=http://web.test\n"


def test_a_folder_may_be_named_instead_of_entered(home: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HUD_API_KEY=there\n")
    assert settings.load().api_key is None
    assert settings.load(folder=tmp_path).api_key == "there"
