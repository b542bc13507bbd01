"""`hud login` with a browser: the page that a person sees, clicked through, against a running platform."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests import bench
from tests.platform_process import PlatformProcess

pytestmark = pytest.mark.browser

# A browser must not call its maker, from a test least of all.
_QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run")


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty page of a headless browser; anything but loopback is refused, and an error on a page fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=bench.require_browser(), args=list(_QUIET))
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if "127.0.0.1" not in request.url else None)
        yield page
        browser.close()
    assert problems == []


class Login:
    """A `hud login` that waits for somebody."""

    def __init__(self, url: str, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUD_")}
        self.settings = home / ".hud" / ".env"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hud_cli", "login", "--url", url, "--no-browser"],
            env={**kept, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        said = ""
        while (found := re.search(r"http://\S+/device\S*", said)) is None:
            line = self._process.stderr.readline()
            assert line, said
            said += line
        self.address = found[0]

    def ends(self) -> tuple[int, str]:
        """Give the exit code and what it said last."""
        _, said = self._process.communicate(timeout=30)
        return self._process.returncode, said

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def login(platform: PlatformProcess, tmp_path: Path) -> Iterator[Login]:
    login = Login(platform.url, tmp_path)
    yield login
    login.close()


def test_who_approves_in_the_browser_is_logged_in(login: Login, page: Page, platform: PlatformProcess) -> None:
    assert platform.key is not None
    page.goto(login.address)
    page.get_by_label("Your API key").fill(platform.key)
    page.get_by_label("read: see").check()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading")).to_have_text("Approved")
    code, said = login.ends()
    stored = dict(line.partition("=")[::2] for line in login.settings.read_text().splitlines())

    assert code == 0, said
    assert stored["HUD_API_URL"] == platform.url
    assert platform.as_key(stored["HUD_API_KEY"]).get("/v2/auth/me").json()["scope"] == "read"
    assert platform.key not in login.settings.read_text()


def test_who_denies_in_the_browser_is_not(login: Login, page: Page, platform: PlatformProcess) -> None:
    assert platform.key is not None
    page.goto(login.address)
    page.get_by_label("Your API key").fill(platform.key)
    page.get_by_role("button", name="Deny").click()
    code, said = login.ends()

    expect(page.get_by_role("heading")).to_have_text("Denied")
    assert code == 4
    assert "the login was denied in the browser" in said


def test_a_wrong_key_is_told_and_the_right_one_works_then(login: Login, page: Page, platform: PlatformProcess) -> None:
    assert platform.key is not None
    page.goto(login.address)
    page.get_by_label("Your API key").fill("hud_wrong")
    page.get_by_role("button", name="Approve").click()
    assert "unknown or was revoked" in page.get_by_role("alert").inner_text()
    page.get_by_label("Your API key").fill(platform.key)
    page.get_by_role("button", name="Approve").click()

    expect(page.get_by_role("heading")).to_have_text("Approved")
    assert login.ends()[0] == 0


def test_a_code_can_be_typed(login: Login, page: Page, platform: PlatformProcess) -> None:
    assert platform.key is not None
    page.goto(f"{platform.url}/device")
    page.get_by_label("Code", exact=True).fill(login.address.rpartition("=")[2].lower())
    page.get_by_label("Your API key").fill(platform.key)
    page.keyboard.press("Enter")  # the first button is the one that Enter presses

    expect(page.get_by_role("heading")).to_have_text("Approved")
    assert login.ends()[0] == 0


def test_the_page_works_from_the_keyboard_and_names_its_fields(login: Login, page: Page) -> None:
    page.goto(login.address)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).length"
    )
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.value"))

    assert unnamed == 0
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == "Log in a device"
    assert reached == ["key", "scope", "action", "action"]


def test_the_docs_page_renders_without_the_network(page: Page, platform: PlatformProcess) -> None:
    page.goto(f"{platform.url}/docs")

    assert page.get_by_text("GET /v2/auth/me").is_visible()
    assert page.get_by_role("heading", name="HUD platform API").is_visible()
