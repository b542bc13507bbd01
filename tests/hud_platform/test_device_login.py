"""Device login: a code for the terminal, a page for the person, a key that is made once (spec section 16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.platform_process import PlatformProcess

INJECTION = "<script>alert(1)</script>\"'{{7*7}}\u202e"


def begin(platform: PlatformProcess, name: str = "laptop") -> dict[str, Any]:
    reply = platform.as_key(None).post("/auth/device/code", json={"client_name": name, "client_version": "0.6.15"})
    assert reply.status_code == 200, reply.text
    document: dict[str, Any] = reply.json()
    return document


def poll(platform: PlatformProcess, code: dict[str, Any]) -> httpx.Response:
    return platform.as_key(None).post("/auth/device/token", json={"device_code": code["device_code"]})


def decide(platform: PlatformProcess, code: dict[str, Any], key: str | None, **fields: str) -> httpx.Response:
    form = {"code": code["user_code"], "key": key or "", "scope": "write", "action": "approve", **fields}
    return platform.as_key(None).post("/device", data=form)


def test_a_login_that_is_approved_gives_a_key_once(platform: PlatformProcess) -> None:
    code = begin(platform)
    waiting = poll(platform, code)
    approved = decide(platform, code, platform.key)
    given = poll(platform, code)

    assert (waiting.status_code, waiting.json()["error"]) == (400, "authorization_pending")
    assert approved.status_code == 200
    assert given.status_code == 200
    me = platform.as_key(given.json()["api_key"]).get("/v2/auth/me").json()
    assert (me["scope"], me["key_name"]) == ("write", "login laptop")
    assert poll(platform, code).json()["error"] == "expired_token"


def test_the_reply_to_a_device_holds_what_rfc_8628_asks_for(platform: PlatformProcess) -> None:
    code = begin(platform)

    assert code["verification_uri"] == f"{platform.url}/device"
    assert code["verification_uri_complete"] == f"{platform.url}/device?code={code['user_code']}"
    assert isinstance(code["expires_in"], int)
    assert isinstance(code["interval"], int)
    assert len(code["user_code"].replace("-", "")) == 8


def test_a_login_that_is_denied_gives_none(platform: PlatformProcess) -> None:
    code = begin(platform)
    decide(platform, code, platform.key, action="deny")

    assert poll(platform, code).json()["error"] == "access_denied"


def test_polling_too_fast_is_told_to_slow_down(platform: PlatformProcess) -> None:
    code = begin(platform)
    first, second = poll(platform, code), poll(platform, code)

    assert first.json()["error"] == "authorization_pending"
    assert (second.status_code, second.json()["error"]) == (400, "slow_down")


def test_an_unknown_device_code_has_expired(platform: PlatformProcess) -> None:
    reply = poll(platform, {"device_code": "nothing' OR 1=1"})

    assert reply.status_code == 400
    assert reply.json()["error"] == "expired_token"
    assert isinstance(reply.json()["detail"], str)  # PA-04


@pytest.mark.parametrize("kind", ["read", "wrong", "none"])
def test_a_key_that_may_not_write_cannot_approve(platform: PlatformProcess, kind: str) -> None:
    key = {"read": platform.mint("read"), "wrong": "hud_wrong", "none": ""}[kind]
    code = begin(platform)
    refused = decide(platform, code, key)

    assert refused.status_code == 403
    assert 'role="alert"' in refused.text
    assert poll(platform, code).json()["error"] == "authorization_pending"


def test_no_key_gives_more_than_it_has_itself(platform: PlatformProcess) -> None:
    code = begin(platform)
    refused = decide(platform, code, platform.mint("write"), scope="admin")

    assert refused.status_code == 403
    assert "cannot give" in refused.text


def test_a_key_revoked_after_it_approved_gives_none(platform: PlatformProcess) -> None:
    minted = platform.client.post("/v2/keys", json={"name": "approver", "scope": "write"}).json()
    code = begin(platform)
    assert decide(platform, code, minted["key"]).status_code == 200
    platform.client.delete(f"/v2/keys/{minted['record']['id']}")

    assert poll(platform, code).json()["error"] == "access_denied"


def test_a_name_with_markup_is_shown_as_text(platform: PlatformProcess) -> None:
    code = begin(platform, INJECTION)
    page = platform.as_key(None).get("/device", params={"code": code["user_code"]})

    assert "<script>" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;{{7*7}}" in page.text
    assert "\u202e" not in page.text  # it would turn the text around


def test_a_code_with_markup_is_shown_as_text(platform: PlatformProcess) -> None:
    page = platform.as_key(None).get("/device", params={"code": '"><b onclick=x>'})

    assert page.status_code == 404
    assert "<b onclick" not in page.text
    assert "&quot;&gt;&lt;b onclick" in page.text


def test_the_page_forbids_all_but_its_own_style(platform: PlatformProcess) -> None:
    page = platform.as_key(None).get("/device")
    policy = page.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "http://" not in page.text.replace(platform.url, "")
    assert "<script" not in page.text


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://127.0.0.1:1"}],
    ids=["origin", "fetch-site", "another-port"],
)
def test_the_form_of_another_site_is_refused(platform: PlatformProcess, headers: dict[str, str]) -> None:
    code = begin(platform)
    form = {"code": code["user_code"], "key": platform.key or "", "scope": "write", "action": "approve"}
    reply = platform.as_key(None).post("/device", data=form, headers=headers)

    assert reply.status_code == 403
    assert poll(platform, code).json()["error"] == "authorization_pending"


def test_a_code_is_read_however_it_is_written(platform: PlatformProcess) -> None:
    code = begin(platform)
    page = platform.as_key(None).get(
        "/device", params={"user_code": f" {code['user_code'].lower().replace('-', ' ')} "}
    )

    assert page.status_code == 200
    assert "<strong>laptop</strong>" in page.text


def test_no_key_is_left_where_a_login_was_never_fetched(platform: PlatformProcess) -> None:
    before = platform.client.get("/v2/keys").json()["total"]
    decide(platform, begin(platform), platform.key)

    assert platform.client.get("/v2/keys").json()["total"] == before


def test_guessing_ends_in_429(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    client = platform.as_key(None)
    form = {"code": "BBBB-BBBB", "key": "hud_guess", "scope": "write", "action": "approve"}
    statuses = [client.post("/device", data=form).status_code for _ in range(31)]
    codes = [client.post("/auth/device/code", json={}) for _ in range(31)]

    assert statuses[:30] == [403] * 30
    assert statuses[30] == 429
    assert codes[-1].status_code == 429
    assert 0 < int(codes[-1].headers["retry-after"]) <= 30  # PA-05


def test_a_login_survives_a_restart(fresh_platform: Callable[..., PlatformProcess]) -> None:
    platform = fresh_platform()
    code = begin(platform)
    decide(platform, code, platform.key)
    platform.stop()
    platform.start()

    assert poll(platform, code).status_code == 200
