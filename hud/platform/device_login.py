"""A key through a browser: the platform shows a code, a person confirms it there, and the client asks until then.

Source: RFC 8628; platform API specification, section 16.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from hud.errors import HudError, NotAuthorisedError, PlatformError, UnreachableError
from hud.http import Http, Reply
from hud.platform.records import DeviceCode, DeviceKey
from hud.refusal import readable
from hud.retry import retry_after_s
from hud.version import __version__

__all__ = ["DeviceLogin", "confirmation_url"]

TIMEOUT_S = 30.0
SLOWER_S = 5.0
SHORTEST_INTERVAL_S = 1.0

T = TypeVar("T")

_HEADERS = {"Content-Type": "application/json"}
_AGAIN = "hud login"


class DeviceLogin:
    """One login with a platform.

    Args:
        api_url: The platform's API.
        sleep: Waits, and `clock` tells the time in seconds; parameters for tests of the schedule.
    """

    def __init__(
        self,
        api_url: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api_url = api_url
        self._http = Http()
        self._sleep = sleep
        self._clock = clock

    def begin(self) -> DeviceCode:
        """Ask for a code to show.

        Raises:
            HudError: the platform offers no such login.
            UnreachableError: it does not answer.
        """
        body = {"client_name": socket.gethostname(), "client_version": __version__}
        reply = self._post("/auth/device/code", body)
        if reply.status in (404, 405):
            raise HudError(
                f"{self._api_url} offers no login through a browser",
                hint="make a key on its web pages, then: hud set HUD_API_KEY=…",
            )
        return _decoded(reply, DeviceCode)

    def wait(self, code: DeviceCode) -> DeviceKey:
        """Ask until the code is confirmed; a platform that is down meanwhile is asked on.

        Raises:
            NotAuthorisedError: the code was denied, or it expired.
            PlatformError: the platform answers what this client does not know.
        """
        interval_s = max(float(code.interval), SHORTEST_INTERVAL_S)
        ends_at = self._clock() + code.expires_in
        while True:
            # The last question comes at the end, not an interval after it.
            self._sleep(min(interval_s, max(ends_at - self._clock(), 0)))
            reply = self._asked(code)
            word = None if reply is None else _error_word(reply)
            if reply is not None and word is None and reply.status not in (429, *range(500, 600)):
                return _decoded(reply, DeviceKey)
            if word == "slow_down":
                interval_s += SLOWER_S
            elif word == "access_denied":
                raise NotAuthorisedError("the login was denied in the browser", hint=_AGAIN)
            elif word == "expired_token":
                raise _expired(code)
            elif word not in (None, "authorization_pending"):
                raise PlatformError(f"the login ended with {readable(word)!r}", status=400, hint=_AGAIN)
            elif reply is not None and (asked_s := retry_after_s(reply.headers)) is not None:
                self._sleep(min(asked_s, max(ends_at - self._clock(), 0)))
            if self._clock() >= ends_at:
                raise _expired(code)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _asked(self, code: DeviceCode) -> Reply | None:
        try:
            return self._post("/auth/device/token", {"device_code": code.device_code})
        except UnreachableError:
            return None

    def _post(self, path: str, body: dict[str, str]) -> Reply:
        content = json.dumps(body).encode()
        return self._http.exchange(
            "POST", f"{self._api_url}{path}", content=content, headers=_HEADERS, timeout_s=TIMEOUT_S
        )


def confirmation_url(code: DeviceCode) -> str | None:
    """Give the page where the code is confirmed, or None when it is none that a browser may be sent to."""
    url = code.verification_uri_complete
    if not url:
        joint = "&" if "?" in code.verification_uri else "?"
        url = f"{code.verification_uri}{joint}code={code.user_code}"
    return url if url.startswith(("https://", "http://")) and url.isprintable() and " " not in url else None


def _expired(code: DeviceCode) -> NotAuthorisedError:
    return NotAuthorisedError(f"the code {readable(code.user_code)} expired before it was confirmed", hint=_AGAIN)


def _error_word(reply: Reply) -> str | None:
    """Give the error's word of RFC 8628, section 3.5; some services wrap it in `detail`."""
    if 200 <= reply.status < 300 or reply.status == 429 or reply.status >= 500:
        return None
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return f"status {reply.status}"
    if not isinstance(document, dict):
        return f"status {reply.status}"
    detail = document.get("detail")
    word = detail.get("error") if isinstance(detail, dict) else document.get("error") or detail
    return word if isinstance(word, str) and word else f"status {reply.status}"


def _decoded(reply: Reply, into: type[T]) -> T:
    if not 200 <= reply.status < 300:
        raise PlatformError(f"{reply.call} answered {reply.status}", status=reply.status, hint=_AGAIN)
    try:
        return msgspec.json.decode(reply.body, type=into)
    except msgspec.DecodeError as error:
        raise PlatformError(
            f"the reply to {reply.call} cannot be read: {error}",
            status=reply.status,
            hint="does the address name a HUD platform?",
        ) from error
