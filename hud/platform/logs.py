"""Follow the log of a build to its end, through broken connections, without losing or repeating a line.

A platform of this project's sends frames from any place on (`?cursor=`); the public service sends everything anew,
and what was given already is passed over. The verdict is the build's status, not the log's last word.

Source: platform API specification, section 6.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec

from hud.errors import HudError, NotAuthorisedError, PlatformError, UnreachableError
from hud.platform import builds
from hud.platform.client import Platform
from hud.platform.records import BuildFrame, BuildStatus
from hud.tls import LateContext
from hud.version import __version__

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["follow", "wait"]

_LARGEST_FRAME_BYTES = 16 * 2**20  # platforms promise 1 MiB
_OPEN_S = 30.0
_PING_S = 20.0
_CLOSE_S = 0.5
_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
_FIRST_POLL_S, _POLL_S = 0.2, 2.0
_IDLE_S = 1.0
_PATIENCE_S = 120.0
_NOT_ACCESSIBLE = 4003
_LAST = ("complete", "error")

_decode = msgspec.json.Decoder(BuildFrame).decode


def follow(
    platform: Platform,
    build_id: str,
    *,
    notice: Callable[[str], None] = lambda _: None,
    until_now: bool = False,
    patience_s: float = _PATIENCE_S,
) -> Iterator[BuildFrame]:
    """Give the frames of a build's log, those to come included; the last one says that it is complete.

    Where the log cannot be had, the end is waited for all the same.

    Args:
        notice: Is told, in a sentence, when the stream broke or cannot be had.
        until_now: Give what there is already and end there.
        patience_s: How long a platform that does not answer at all is asked again.

    Raises:
        NotFoundError: there is no such build.
        NotAuthorisedError: the key may not see it.
        UnreachableError: the platform does not come back.
    """
    stream = _Stream(platform, build_id, idle_s=_IDLE_S if until_now else None)
    broken_at: float | None = None
    tries = 0
    while True:
        try:
            with stream.opened() as frames:
                for frame in frames:
                    yield frame
                    broken_at, tries = None, 0
                    if frame.type in _LAST:
                        return
        except _Idle:
            return
        except _Refused as error:
            if until_now:
                notice(f"the log cannot be read: {error}")
                return
            notice(f"the log cannot be followed ({error}); waiting for the build's end")
            wait(platform, build_id, patience_s=patience_s)
            return
        except _Broken as error:
            broken_at = broken_at or time.monotonic()
            has_all = until_now or not _is_running(platform, build_id)  # if more comes, it is on the next connection
            if (has_all and tries) or time.monotonic() - broken_at > patience_s:
                notice(f"the log broke off: {error}")
                if not until_now:
                    wait(platform, build_id, patience_s=patience_s)
                return
            if tries == 1:
                notice(f"the log broke off ({error}); connecting again")
            time.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1


def wait(platform: Platform, build_id: str, *, patience_s: float = _PATIENCE_S) -> BuildStatus:
    """Wait for the end of a build and give its status.

    Raises:
        NotFoundError: there is no such build.
        UnreachableError, PlatformError: the platform does not answer, or not usefully, for longer than `patience_s`.
    """
    silent_since: float | None = None
    pause_s = _FIRST_POLL_S
    while True:
        try:
            status = builds.status(platform, build_id)
        except HudError as error:
            silent_since = silent_since or time.monotonic()
            if not _may_pass(error) or time.monotonic() - silent_since > patience_s:
                raise
        else:
            silent_since = None
            if not builds.is_running(status):
                return status
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _POLL_S)


def _is_running(platform: Platform, build_id: str) -> bool:
    try:
        return builds.is_running(builds.status(platform, build_id))
    except HudError as error:
        if _may_pass(error):
            return True
        raise


def _may_pass(error: HudError) -> bool:
    """Whether a status that cannot be had now may be had in a moment: the build goes on meanwhile."""
    if isinstance(error, PlatformError):
        return error.status >= 500 or error.status == 429
    return isinstance(error, UnreachableError)


class _Broken(Exception):
    """The stream ended before the log did."""


class _Idle(Exception):
    """Nothing more is there for the moment."""


class _Refused(Exception):
    """There is no stream to be had, now or later."""


class _Stream:
    """A build's log over any number of connections.

    On a platform with cursors `_next` is the number of the frame to come. On others `_lines` counts the log frames that
    were given, all of which come again on each connection; what else there is may differ between connections, and is
    given once.
    """

    def __init__(self, platform: Platform, build_id: str, *, idle_s: float | None) -> None:
        self._platform = platform
        self._idle_s = idle_s
        self._path = f"{builds.path(build_id)}/logs"
        self._has_cursor = "builds" in platform.extensions
        self._next = 0
        self._lines = 0
        self._told: set[BuildFrame] = set()

    @contextmanager
    def opened(self) -> Iterator[Iterator[BuildFrame]]:
        """Connect, and give the frames that were not given yet.

        Raises:
            _Broken: the connection ended, or could not be made.
            _Refused: this platform does not stream the log, or not to this key.
        """
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

        try:
            with self._connect() as connection:
                yield self._frames(connection)
        except InvalidStatus as error:
            self._refuse(error.response.status_code)
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == _NOT_ACCESSIBLE:
                raise _Refused("the key may not read it") from error
            raise _Broken("the platform closed the connection") from error
        except (InvalidHandshake, WebSocketException, OSError, EOFError) as error:
            raise _Broken(str(error) or type(error).__name__) from error

    def _connect(self) -> ClientConnection:
        from websockets.sync.client import connect

        url = self._platform.websocket_url(self._path)
        headers = {}
        if self._has_cursor:
            url += f"?cursor={self._next}"
            headers["Authorization"] = self._platform.authorisation
        else:
            url += f"?api_key={quote(self._platform.authorisation.removeprefix('Bearer '), safe='')}"
        is_here = (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1")
        return connect(
            url,
            additional_headers=headers,
            user_agent_header=f"hud-cli/{__version__}",
            max_size=_LARGEST_FRAME_BYTES,
            compression=None,
            open_timeout=_OPEN_S,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=_CLOSE_S,
            ssl=LateContext() if url.startswith("wss:") else None,
            proxy=None if is_here else True,
        )

    def _frames(self, connection: ClientConnection) -> Iterator[BuildFrame]:
        lines = 0
        while True:
            try:
                message = connection.recv(self._idle_s)
            except TimeoutError:
                raise _Idle from None
            try:
                frame = _decode(message)
            except msgspec.DecodeError:  # junk between frames does not end a build (PA-38)
                continue
            if frame.seq is not None and self._has_cursor:
                if frame.seq < self._next:
                    continue
                self._next = frame.seq + 1
            elif frame.type == "log":
                lines += 1
                if lines <= self._lines:
                    continue
                self._lines = lines
            elif frame.type not in _LAST:
                if frame in self._told:
                    continue
                self._told.add(frame)
            yield frame

    def _refuse(self, status: int) -> None:
        if status in (401, 403):
            raise NotAuthorisedError("the key may not read this build's log", hint="hud login")
        if status == 404:
            raise _Refused("the platform does not stream it")
        if status in (429, 502, 503, 504):
            raise _Broken(f"the platform answered {status}")
        raise _Refused(f"the platform answered {status}")
