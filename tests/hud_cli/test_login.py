"""`hud login`: a code and an address, a wait, and a key that is kept."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.hud_cli.conftest import Hud, closed_port, read_until
from tests.stand_in import PublicService, Scripted


def kept(variables: dict[str, str]) -> str:
    return (Path(variables["HOME"]) / ".hud" / ".env").read_text()


def test_a_login_says_where_to_confirm_and_keeps_the_key(
    hud: Hud, variables: dict[str, str], public_service: PublicService
) -> None:
    public_service.device_errors = ["authorization_pending"]
    done = hud("login", "--url", public_service.url + "/")
    path = Path(variables["HOME"]) / ".hud" / ".env"
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "Confirm the code WDJB-MJHT at\n"
        f"    {public_service.url}/device?code=WDJB-MJHT\n"
        "Waiting for it; Ctrl-C gives up.\n"
        f"Logged in to {public_service.url} as ada@example.com, team Engines. The key is in {path}.\n"
    )
    assert f"HUD_API_KEY={public_service.key}\nHUD_API_URL={public_service.url}\n" in kept(variables)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_follows_uses_the_key(hud: Hud, public_service: PublicService) -> None:
    public_service.add_project("demo")
    hud("login", "--url", public_service.url, "--quiet")
    done = hud("project", "list")
    assert (done.code, done.out.split()[0]) == (0, "demo")


def test_the_platform_of_the_settings_is_the_one_to_log_in_to(hud: Hud, public_service: PublicService) -> None:
    done = hud("login", "--json", HUD_API_URL=public_service.url)
    document = json.loads(done.out)
    assert (document["api_url"], document["user"]) == (public_service.url, {"email": "ada@example.com"})
    assert document["moved_key"] is None
    assert public_service.key not in done.out + done.err


def test_a_key_of_another_platform_is_not_lost(
    hud: Hud, variables: dict[str, str], public_service: PublicService
) -> None:
    hud("set", "HUD_API_KEY=public-key")
    done = hud("login", "--url", public_service.url)
    assert "The key of the platform that was used before is kept there as HUD_API_KEY_OF_API_HUD_AI.\n" in done.err
    assert "HUD_API_KEY_OF_API_HUD_AI=public-key\n" in kept(variables)


def test_a_key_that_another_hides_is_said_to_be(hud: Hud, public_service: PublicService) -> None:
    done = hud("login", "--url", public_service.url, HUD_API_KEY="exported")
    assert done.err.endswith(
        "Commands here use another key all the same: HUD_API_KEY of the environment or ./.env comes first.\n"
    )


@pytest.mark.parametrize(
    ("word", "code", "message"),
    [
        ("access_denied", 4, "Error: the login was denied in the browser\nHint: hud login\n"),
        ("expired_token", 4, "Error: the code WDJB-MJHT expired before it was confirmed\nHint: hud login\n"),
        ("invalid_client", 1, "Error: the login ended with 'invalid_client'\nHint: hud login\n"),
    ],
)
def test_a_login_that_fails_keeps_nothing(
    hud: Hud, variables: dict[str, str], public_service: PublicService, word: str, code: int, message: str
) -> None:
    public_service.device_errors = [word]
    done = hud("login", "--url", public_service.url)
    assert done.code == code
    assert done.err.endswith(message)
    assert not (Path(variables["HOME"]) / ".hud").exists()


def test_a_platform_that_does_not_answer_is_unreachable(hud: Hud) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    done = hud("login", "--url", url, "--json")
    assert done.code == 3
    assert json.loads(done.out)["error"] == "unreachable"


def test_an_address_that_is_none_is_a_usage_error(hud: Hud) -> None:
    done = hud("login", "--url", "hud.ai")
    assert done.code == 2
    assert "Error: HUD_API_URL of --url is no http address: 'hud.ai'\n" in done.err


def test_ctrl_c_gives_up(source: Path, variables: dict[str, str], public_service: PublicService) -> None:
    public_service.device_errors = ["authorization_pending"] * 600
    command = [sys.executable, "-m", "hud_cli", "login", "--url", public_service.url]
    with subprocess.Popen(command, cwd=source, env=variables, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        read_until(process.stderr.fileno(), b"Waiting for it")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert not (Path(variables["HOME"]) / ".hud").exists()


@pytest.mark.parametrize("words", [[], ["--no-browser"]], ids=["browser", "no browser"])
def test_on_a_terminal_a_browser_opens_unless_it_must_not(
    source: Path, variables: dict[str, str], public_service: PublicService, tmp_path: Path, words: list[str]
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho noise\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    environment = {name: value for name, value in variables.items() if name != "SSH_CONNECTION"}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "hud_cli", "login", "--url", public_service.url, *words],
        cwd=str(source),
        env={**environment, "BROWSER": str(browser), "TERM": "dumb"},
        timeout=30,
    )
    child.expect("Logged in to")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    opened = (tmp_path / "opened").read_text() if (tmp_path / "opened").exists() else None
    assert opened == (None if words else f"{public_service.url}/device?code=WDJB-MJHT\n")


def test_a_platforms_words_do_not_move_the_cursor(hud: Hud, public_service: PublicService) -> None:
    public_service.device |= {"user_code": "A\033[2J", "verification_uri": "javascript:\033[2J"}
    token = {"api_key": "sk-1", "user": {"email": "\033[31mada"}}
    public_service.script("POST", "/auth/device/token", Scripted(body=token))
    done = hud("login", "--url", public_service.url)
    assert done.code == 0
    assert "\033" not in done.err


def test_a_key_that_is_none_is_not_kept(hud: Hud, variables: dict[str, str], public_service: PublicService) -> None:
    public_service.script("POST", "/auth/device/token", Scripted(body={"api_key": "a\nHUD_API_URL=http://evil"}))
    done = hud("login", "--url", public_service.url)
    assert done.code != 0
    assert not os.path.exists(Path(variables["HOME"]) / ".hud" / ".env")
