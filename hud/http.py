"""HTTP to a platform. Only this module imports `httpx`.

What is safe to send twice is sent again after 429, 502, 503, 504 and broken connections: at most four times, after
2, 4, 8 and 16 seconds or what `Retry-After` asks for, within a bound on all waits (PA-39). Timeouts are not tried
again, and redirects are not followed.

Source: platform API specification, section 2.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from hud.errors import DeadlineError, HudError, PlatformError, UnreachableError, UsageError
from hud.refusal import lowered, readable, refusal, without_query
from hud.retry import RETRIED_STATUSES, Waits
from hud.settings import origin
from hud.tls import LateContext
from hud.version import __version__

# httpx loads its own command line where rich is installed: 70 ms more for every command that reaches a platform.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402  # not before that

__all__ = ["Content", "Download", "Http", "Parameter", "Reply"]

Content = bytes | Iterable[bytes] | Callable[[], Iterable[bytes]]
"""A body: at once, or in pieces. What is called, or is no iterator and so can be read twice, can be sent again."""
Parameter = str | int | float | bool | list[str] | None

DEFAULT_TIMEOUT_S = 600.0
CONNECT_TIMEOUT_S = 30.0

KEEPALIVE_S = 3.0  # below the 5 s after which common servers close: a POST that meets the closing is not sent again

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HINT_UNREACHABLE = "check HUD_API_URL, the network and its proxy: hud doctor"
_HINT_OWN = "start the platform of this machine: hud platform up"
_HINT_CERTIFICATE = "export SSL_CERT_FILE=… with the certificate authority of this platform"
_log = logging.getLogger("hud.http")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back; `headers` does not mind case, and `call` is the method and the address without its query."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    call: str


@dataclass(frozen=True, kw_only=True)
class Download:
    """The beginning of a reply whose body is read piece by piece."""

    headers: Mapping[str, str]
    size_bytes: int | None
    chunks: Iterator[bytes]


class Http:
    """A client that keeps its connections; usable from several threads at once.

    Args:
        key: An API key, sent with every call that does not say otherwise, and shown by no error.
        retry_limit_s: The most that one call may wait between its tries, added up.
        notice: Is told, in a sentence, when a call waits and what a platform announces.
        sleep: Waits; a parameter for tests of the schedule.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        retry_limit_s: float = 60.0,
        notice: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._key = key
        self._retry_limit_s = retry_limit_s
        self._notice = notice or _log.info
        self._sleep = sleep
        self._announced: set[str] = set()
        # A proxy of the environment does not know what listens on this machine.
        direct = {f"all://[{host}]" if ":" in host else f"all://{host}": None for host in _LOOPBACK}
        try:
            self._client = httpx.Client(
                headers={"User-Agent": f"hud-cli/{__version__}"},
                mounts=direct,
                verify=LateContext(),
                limits=httpx.Limits(keepalive_expiry=KEEPALIVE_S),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:  # a proxy of the environment
            raise UsageError(f"the proxy of the environment cannot be used: {error}", hint="unset ALL_PROXY") from error

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Parameter] | None = None,
        content: Content | None = None,
        size_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
        with_key: bool = True,
        idempotent: bool | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send a call, again where that is safe, and give the reply of a success.

        Args:
            params: The query: None is left out, truth is spelled `True` and `False`, a list repeats its name.
            size_bytes: The length of a body in pieces; without it the body travels chunked.
            idempotent: Whether a second one does no harm; by default everything but POST and PATCH.
            timeout_s: Of each operation on the connection (connect, one read, one write).

        Raises:
            NotAuthorisedError: 401 or 403.
            NotFoundError: 404.
            PlatformError: any other status but 2xx; without a key, those three too.
            DeadlineError: no answer in time.
            UnreachableError: no connection, or one that broke.
            UsageError: an address that is none.
        """
        again = method not in ("POST", "PATCH") if idempotent is None else idempotent
        call = self._call(method, url, params, headers, size_bytes, with_key, timeout_s, again, content)
        reply = _reply(call, self._tried(call))
        if not 200 <= reply.status < 300:
            raise self._refusal(call, reply)
        return reply

    def exchange(self, method: str, url: str, *, content: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        """Send a call once, without the key, and give the reply whatever its status.

        Raises:
            UnreachableError: no connection, one that broke, or no answer in time.
            UsageError: an address that is none.
        """
        call = self._call(method, url, None, headers, None, False, timeout_s, False, content)
        return _reply(call, self._tried(call))

    @contextmanager
    def download(
        self,
        url: str,
        *,
        params: Mapping[str, Parameter] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[Download]:
        """Open a GET whose body is read piece by piece; tried again until the body begins.

        Raises:
            HudError: as `request`, also while the pieces are read.
        """
        call = self._call("GET", url, params, headers, None, True, timeout_s, True, None)
        response = self._tried(call, stream=True)
        try:
            if not response.is_success:
                raise self._refusal(call, _reply(call, response))
            length = response.headers.get("Content-Length", "")
            yield Download(
                headers=response.headers,
                size_bytes=int(length) if length.isdecimal() else None,
                chunks=_pieces(call, response),
            )
        finally:
            response.close()

    def _call(
        self,
        method: str,
        url: str,
        params: Mapping[str, Parameter] | None,
        headers: Mapping[str, str] | None,
        size_bytes: int | None,
        with_key: bool,
        timeout_s: float | None,
        again: bool,
        content: Content | None,
    ) -> _Call:
        sent = httpx.Headers(headers)
        if self._key is not None and with_key:
            sent["Authorization"] = f"Bearer {self._key}"
        if size_bytes is not None:
            sent["Content-Length"] = str(size_bytes)  # without it a body in pieces travels chunked
        return _Call(
            method=method,
            url=url,
            params=_query(params) or None,
            headers=sent,
            content=content,
            size_bytes=size_bytes,
            secret=self._key if with_key else None,
            timeout_s=DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s,
            again=again,
        )

    def _tried(self, call: _Call, *, stream: bool = False) -> httpx.Response:
        """Send until there is an answer that another try would not change, or no try is left.

        Args:
            stream: Leave the body of a success unread.
        """
        waits = Waits(self._retry_limit_s)
        while True:
            body = _Body(call)
            response, failure = None, None
            try:
                response = self._once(call, body, stream=stream)
            except DeadlineError:
                raise
            except UnreachableError as error:
                failure = error
            if response is not None and response.status_code not in RETRIED_STATUSES:
                return response
            may = call.again and body.can_be_sent_again
            wait_s = waits.next_s({} if response is None else response.headers) if may else None
            if wait_s is None:
                if response is None:
                    assert failure is not None
                    raise failure
                return response
            said = str(failure) if response is None else f"{call.name} answered {response.status_code}"
            self._notice(f"{said}; trying again in {wait_s:g} s")
            self._sleep(wait_s)

    def _once(self, call: _Call, body: _Body, *, stream: bool) -> httpx.Response:
        with _translated(call):
            request = self._client.build_request(
                call.method,
                call.url,
                params=call.params,
                headers=call.headers,
                content=body.pieces(),
                timeout=httpx.Timeout(call.timeout_s, connect=call.connect_timeout_s),
            )
            response = self._client.send(request, stream=True)
            if not (stream and response.is_success):
                try:
                    response.read()
                finally:
                    response.close()
        self._tell_of_announcements(response.headers)
        return response

    def _refusal(self, call: _Call, reply: Reply) -> HudError:
        return refusal(
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            call=reply.call,
            secret=call.secret,
            limit_s=self._retry_limit_s,
        )

    def _tell_of_announcements(self, headers: Mapping[str, str]) -> None:
        """Say once what a platform will no longer answer."""
        if "deprecation" not in headers and "sunset" not in headers:
            return
        parts = [f"{name}: {readable(headers[name])}" for name in ("deprecation", "sunset", "link") if name in headers]
        text = f"the platform announces a change ({'; '.join(parts)})"
        if text not in self._announced:
            self._announced.add(text)
            self._notice(text)


@dataclass(frozen=True, kw_only=True)
class _Call:
    method: str
    url: str
    params: list[tuple[str, str | int | float | bool | None]] | None  # of none httpx keeps the address's own
    headers: httpx.Headers
    content: Content | None
    size_bytes: int | None
    secret: str | None
    timeout_s: float
    again: bool

    @property
    def name(self) -> str:
        return f"{self.method} {without_query(self.url)}"

    @property
    def connect_timeout_s(self) -> float:
        return min(self.timeout_s, CONNECT_TIMEOUT_S)


class _Body:
    """One sending of a call's body, which knows whether another is possible."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._begun = False

    @property
    def can_be_sent_again(self) -> bool:
        return not self._begun or not isinstance(self._call.content, Iterator)

    def pieces(self) -> bytes | Iterator[bytes] | None:
        content = self._call.content
        if content is None or isinstance(content, bytes):
            return content
        return self._read(content() if callable(content) else content)

    def _read(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        self._begun = True
        size_bytes = self._call.size_bytes
        sent_bytes = 0
        for piece in pieces:
            sent_bytes += len(piece)
            if size_bytes is not None and sent_bytes > size_bytes:
                break
            yield piece
        if size_bytes not in (None, sent_bytes):
            raise HudError(
                f"what {self._call.name} sends is not the {size_bytes} bytes that were announced",
                hint="a file changed while it was sent: run the command again",
            )


@contextmanager
def _translated(call: _Call) -> Iterator[None]:
    """Turn what httpx raises into this project's errors."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        message = f"{origin(call.url)} did not accept a connection within {call.connect_timeout_s:g} s"
        raise DeadlineError(message, hint=_HINT_UNREACHABLE) from error
    except httpx.TimeoutException as error:
        message = f"{call.name} was not answered within {call.timeout_s:g} s"
        raise DeadlineError(message, hint=_HINT_UNREACHABLE) from error
    except httpx.LocalProtocolError as error:
        raise HudError(f"{call.name} cannot be sent: {lowered(str(error))}") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UsageError(f"{without_query(call.url)!r} is no http address", hint="hud set HUD_API_URL=…") from error
    except httpx.ConnectError as error:
        reason = _reason(error)
        own = httpx.URL(call.url).host in _LOOPBACK
        hint = _HINT_CERTIFICATE if "CERTIFICATE" in reason else _HINT_OWN if own else _HINT_UNREACHABLE
        raise UnreachableError(f"{origin(call.url)} does not answer: {reason}", hint=hint) from error
    except httpx.DecodingError as error:
        message = f"the reply to {call.name} cannot be read: {lowered(str(error))}"
        raise PlatformError(message, status=200, hint="check HUD_API_URL, and the proxy between") from error
    except httpx.TransportError as error:
        raise UnreachableError(f"{call.name} broke off: {_reason(error)}", hint=_HINT_UNREACHABLE) from error


def _reason(error: httpx.TransportError) -> str:
    return lowered(re.sub(r"^\[Errno -?\d+\] ", "", str(error))) or "the connection broke"


def _pieces(call: _Call, response: httpx.Response) -> Iterator[bytes]:
    with _translated(call):
        yield from response.iter_bytes()


def _reply(call: _Call, response: httpx.Response) -> Reply:
    return Reply(status=response.status_code, headers=response.headers, body=response.content, call=call.name)


def _query(params: Mapping[str, Parameter] | None) -> list[tuple[str, str | int | float | bool | None]]:
    pairs: list[tuple[str, str | int | float | bool | None]] = []
    for name, value in (params or {}).items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        pairs += [(name, str(item)) for item in values]  # the public service's spelling of truth is Python's
    return pairs
