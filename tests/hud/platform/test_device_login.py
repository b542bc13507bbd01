"""A key through a browser (RFC 8628): when the client asks, and what each answer means. No second is really waited."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hud.errors import HudError, NotAuthorisedError, PlatformError, UnreachableError
from hud.platform.device_login import DeviceLogin, confirmation_url
from hud.platform.records import DeviceCode
from hud.version import __version__
from tests.stand_in import DROP, PublicService, Scripted

TOKEN = "/auth/device/token"


class Time:
    """A clock that moves by what is slept."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def login(public_service: PublicService, time: Time) -> Iterator[DeviceLogin]:
    session = DeviceLogin(public_service.url, sleep=time.sleep, clock=lambda: time.now_s)
    yield session
    session.close()


def failure(call: Callable[[], object]) -> HudError:
    with pytest.raises(HudError) as caught:
        call()
    return caught.value


def test_a_code_is_asked_for_with_the_specified_fields_and_no_key(
    login: DeviceLogin, public_service: PublicService
) -> None:
    code = login.begin()
    assert (code.user_code, code.interval) == ("WDJB-MJHT", 1)
    (request,) = public_service.requests
    assert (request.method, request.path) == ("POST", "/auth/device/code")  # without the API's /v2
    assert set(request.json) == {"client_name", "client_version"}
    assert request.json["client_version"] == __version__
    assert "authorization" not in request.headers


def test_the_key_comes_once_the_code_is_confirmed(
    login: DeviceLogin, public_service: PublicService, time: Time
) -> None:
    public_service.device["interval"] = 3
    public_service.device_errors = ["authorization_pending", "authorization_pending"]
    key = login.wait(login.begin())
    assert key.api_key == public_service.key
    assert time.slept == [3, 3, 3]
    assert [request.json for request in public_service.calls("POST", TOKEN)] == [{"device_code": "dev-1"}] * 3


def test_without_an_interval_it_is_five_seconds_and_never_none(
    login: DeviceLogin, public_service: PublicService, time: Time
) -> None:
    public_service.device.pop("interval")
    login.wait(login.begin())
    public_service.device["interval"] = 0
    login.wait(login.begin())
    assert time.slept == [5, 1]


def test_slow_down_adds_five_seconds_for_good(login: DeviceLogin, public_service: PublicService, time: Time) -> None:
    public_service.device_errors = ["slow_down", "authorization_pending", "slow_down", "authorization_pending"]
    login.wait(login.begin())
    assert time.slept == [1, 6, 6, 11, 11]


def test_both_forms_of_an_error_are_read(login: DeviceLogin, public_service: PublicService, time: Time) -> None:
    bare = Scripted(status=400, body={"error": "slow_down"})
    wrapped = Scripted(status=400, body={"detail": {"error": "authorization_pending"}})
    plain = Scripted(status=400, body={"detail": "authorization_pending"})
    public_service.script("POST", TOKEN, bare, wrapped, plain)
    login.wait(login.begin())
    assert time.slept == [1, 6, 6, 6]


def test_a_platform_that_restarts_meanwhile_is_asked_on(
    login: DeviceLogin, public_service: PublicService, time: Time
) -> None:
    public_service.script("POST", TOKEN, Scripted(status=500), Scripted(status=503), DROP, Scripted(status=502))
    assert login.wait(login.begin()).api_key == public_service.key
    assert time.slept == [1] * 5


def test_an_overload_says_how_long_to_leave_it_alone(
    login: DeviceLogin, public_service: PublicService, time: Time
) -> None:
    public_service.script("POST", TOKEN, Scripted(status=429, headers={"Retry-After": "20"}))
    login.wait(login.begin())
    assert time.slept == [1, 20, 1]


def test_a_code_expires_by_the_clock_with_a_last_question_at_its_end(
    login: DeviceLogin, public_service: PublicService, time: Time
) -> None:
    public_service.device |= {"expires_in": 12, "interval": 5}
    public_service.device_errors = ["authorization_pending"] * 99
    error = failure(lambda: login.wait(login.begin()))
    assert isinstance(error, NotAuthorisedError)
    assert str(error) == "the code WDJB-MJHT expired before it was confirmed"
    assert (time.slept, error.hint) == ([5, 5, 2], "hud login")


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("expired_token", NotAuthorisedError, "the code WDJB-MJHT expired before it was confirmed"),
        ("access_denied", NotAuthorisedError, "the login was denied in the browser"),
        ("invalid_grant", PlatformError, "the login ended with 'invalid_grant'"),
    ],
)
def test_anything_else_ends_the_login(
    login: DeviceLogin, public_service: PublicService, word: str, kind: type[HudError], message: str
) -> None:
    public_service.device_errors = [word]
    error = failure(lambda: login.wait(login.begin()))
    assert (type(error), str(error)) == (kind, message)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"{}", b'{"error": 7}', b"[" * 100_000])
def test_an_error_without_a_word_ends_the_login_too(
    login: DeviceLogin, public_service: PublicService, body: bytes
) -> None:
    public_service.script("POST", TOKEN, Scripted(status=400, body=body))
    assert str(failure(lambda: login.wait(login.begin()))) == "the login ended with 'status 400'"


@pytest.mark.parametrize("body", [b"<html>", {}, {"api_key": None}, []])
def test_a_success_without_a_key_is_none(login: DeviceLogin, public_service: PublicService, body: object) -> None:
    public_service.script("POST", TOKEN, Scripted(body=body))
    assert "cannot be read" in str(failure(lambda: login.wait(login.begin())))


@pytest.mark.parametrize("status", [404, 405])
def test_a_service_without_this_login_says_how_to_go_on(
    login: DeviceLogin, public_service: PublicService, status: int
) -> None:
    public_service.script("POST", "/auth/device/code", Scripted(status=status, body={"detail": "Not Found"}))
    error = failure(login.begin)
    assert str(error) == f"{public_service.url} offers no login through a browser"
    assert error.hint == "make a key on its web pages, then: hud set HUD_API_KEY=…"


def test_a_platform_that_is_down_at_the_start_is_unreachable(login: DeviceLogin, public_service: PublicService) -> None:
    public_service.script("POST", "/auth/device/code", DROP)
    assert isinstance(failure(login.begin), UnreachableError)


@pytest.mark.parametrize(
    ("uri", "complete", "url"),
    [
        ("https://h/device", "https://h/device?code=X", "https://h/device?code=X"),
        ("https://h/device", None, "https://h/device?code=AB-CD"),
        ("https://h/device?a=1", None, "https://h/device?a=1&code=AB-CD"),
        ("file:///etc/passwd", None, None),
        ("https://h/device", "javascript:alert(1)", None),
        ("https://h/device", "https://h/\033[2J", None),
    ],
)
def test_a_browser_is_sent_to_web_pages_alone(uri: str, complete: str | None, url: str | None) -> None:
    code = DeviceCode(
        device_code="d", user_code="AB-CD", verification_uri=uri, verification_uri_complete=complete, expires_in=1
    )
    assert confirmation_url(code) == url
