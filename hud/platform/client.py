"""A platform's API as calls that give records: one door for every request a command makes.

Source: platform API specification, section 2. Extensions are found through the capability document and are absent
where there is none (PA-37).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar, overload

import msgspec

from hud import settings as configuration
from hud.errors import HudError, NotAuthorisedError, PlatformError, UnreachableError, UsageError
from hud.http import Content, Download, Http, Parameter, Reply
from hud.platform.records import Capabilities, Extension, Page
from hud.retry import RETRIED_STATUSES
from hud.settings import Settings, origin

__all__ = ["Platform"]

T = TypeVar("T")

PREFIX = "/v2"
STORAGE_TIMEOUT_S = 300.0
PAGE_ROWS = 500


class Platform:
    """A platform with a key; a context manager that closes its connections, usable from several threads.

    Args:
        notice: Is told, in a sentence, when a call waits for another try.

    Attributes:
        settings: What it was made from.
        origin: The platform's scheme, host and port, as links store it.
        authorisation: The value of the `Authorization` header, for connections that are made elsewhere.

    Raises:
        NotAuthorisedError: there is no key.
    """

    def __init__(self, settings: Settings, *, notice: Callable[[str], None] | None = None) -> None:
        if not settings.api_key:
            raise NotAuthorisedError(
                "there is no API key: HUD_API_KEY is not set",
                hint="hud login, or for a platform of your own: hud platform up",
            )
        self.settings = settings
        self.origin = origin(settings.api_url)
        self.authorisation = f"Bearer {settings.api_key}"
        self._http = Http(key=settings.api_key, retry_limit_s=settings.retry_limit_s, notice=notice)
        self._extensions: frozenset[str] | None = None

    @classmethod
    def connect(cls, *, notice: Callable[[str], None] | None = None) -> Platform:
        """Give the configured platform; nothing is sent yet.

        Raises:
            NotAuthorisedError: there is no key.
            UsageError: the settings do not hold together.
        """
        return cls(configuration.load(), notice=notice)

    def __enter__(self) -> Platform:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    @property
    def extensions(self) -> frozenset[str]:
        """What this platform adds to the public API, asked once; nothing where it does not say.

        Raises:
            UnreachableError: the platform does not answer.
            PlatformError: it is overloaded, so that nothing can be said.
        """
        if self._extensions is None:
            self._extensions = self._ask_for_extensions()
        return self._extensions

    def need(self, extension: Extension, *, what: str) -> None:
        """Make sure that the platform has an extension.

        Args:
            what: What cannot be had without it, such as "a list of builds".

        Raises:
            HudError: it has not.
        """
        if extension not in self.extensions:
            raise HudError(f"{self.origin} does not offer {what}", hint="a platform of your own does: hud platform up")

    @overload
    def call(
        self,
        method: str,
        path: str,
        *,
        into: type[T],
        body: object = ...,
        params: Mapping[str, Parameter] | None = ...,
        content: Content | None = ...,
        size_bytes: int | None = ...,
        headers: Mapping[str, str] | None = ...,
        idempotent: bool | None = ...,
        timeout_s: float | None = ...,
    ) -> T: ...

    @overload
    def call(
        self,
        method: str,
        path: str,
        *,
        into: None,
        body: object = ...,
        params: Mapping[str, Parameter] | None = ...,
        content: Content | None = ...,
        size_bytes: int | None = ...,
        headers: Mapping[str, str] | None = ...,
        idempotent: bool | None = ...,
        timeout_s: float | None = ...,
    ) -> None: ...

    def call(
        self,
        method: str,
        path: str,
        *,
        into: type[T] | None,
        body: object = None,
        params: Mapping[str, Parameter] | None = None,
        content: Content | None = None,
        size_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        timeout_s: float | None = None,
    ) -> T | None:
        """Send one call and give its reply as `into`.

        Args:
            path: Below the API's `/v2`, such as `/auth/me`; names in it percent-encoded by the caller.
            into: A record, a type that msgspec decodes, `bytes` for the body as it came, or None for a reply that is
                not read.
            body: Sent as JSON: a mapping or a record; a record's unset fields travel as null.
            params: The query: None is left out, truth is spelled `True` and `False`, a list repeats its name.
            content: A body that is not JSON, at once or in pieces; `headers` say what it is.
            size_bytes: The length of a body in pieces.
            idempotent: Whether a second one does no harm; GET, PUT and DELETE do none, a POST only when told.
            timeout_s: Of each operation on the connection (default: 600).

        Raises:
            NotAuthorisedError: the key is not accepted (401), or may not do this (403).
            NotFoundError: 404.
            PlatformError: another status, or a reply that is no JSON or lacks a field.
            UnreachableError: no connection, or no answer in time.
        """
        sent = dict(headers or {})
        if body is not None:
            content = _encoded(body)
            sent["Content-Type"] = "application/json"
        reply = self._http.request(
            method,
            self._url(path),
            params=params,
            content=content,
            size_bytes=size_bytes,
            headers=sent,
            idempotent=idempotent,
            timeout_s=timeout_s,
        )
        return None if into is None else _decoded(reply, into)

    def rows(
        self, path: str, *, into: type[T], params: Mapping[str, Parameter] | None = None, page_rows: int = PAGE_ROWS
    ) -> Iterator[T]:
        """Give every row of a paged list, page after page.

        Raises:
            PlatformError: a page before the last is empty, or a row lacks a field.
        """
        offset = 0
        while True:
            page = self.call("GET", path, into=Page, params={**(params or {}), "limit": page_rows, "offset": offset})
            for row in page.items:
                yield self.record(row, into=into, path=path)
            offset += len(page.items)
            if offset >= page.total:
                return
            if not page.items:
                raise PlatformError(
                    f"{self.origin} sent an empty page of {path} after {offset} of {page.total} rows", status=200
                )

    def record(self, row: object, *, into: type[T], path: str) -> T:
        """Give a row of a page as a record.

        Raises:
            PlatformError: it lacks a field, or one is of another type.
        """
        try:
            return msgspec.convert(row, into)
        except msgspec.ValidationError as error:
            raise _unreadable(f"GET {self._url(path)}", 200, str(error)) from error

    def download(
        self, path: str, *, params: Mapping[str, Parameter] | None = None, timeout_s: float | None = None
    ) -> AbstractContextManager[Download]:
        """Open a reply whose body is read piece by piece.

        Raises:
            HudError: as `call`, also while the pieces are read.
        """
        return self._http.download(self._url(path), params=params, timeout_s=timeout_s)

    def put_file(self, url: str, chunks: Content, *, size_bytes: int, content_type: str) -> None:
        """Put a file where a signed address says, without the key.

        Args:
            chunks: The bytes in pieces; what is called or can be iterated twice is sent again after a fault.

        Raises:
            PlatformError: the storage refused it; the message leaves the signature out.
            UnreachableError: no connection, or one that broke.
        """
        self._http.request(
            "PUT",
            url,
            content=chunks,
            size_bytes=size_bytes,
            headers={"Content-Type": content_type},
            with_key=False,
            timeout_s=STORAGE_TIMEOUT_S,
        )

    def websocket_url(self, path: str) -> str:
        """Give the address of a WebSocket below the API's `/v2`."""
        return "ws" + self._url(path).removeprefix("http")

    def _url(self, path: str) -> str:
        return f"{self.settings.api_url}{PREFIX}{path}"

    def _ask_for_extensions(self) -> frozenset[str]:
        try:
            return frozenset(self.call("GET", "/capabilities", into=Capabilities).extensions)
        except UnreachableError:
            raise
        except HudError as error:
            # Taking an overloaded platform for one without extensions would have it sent whole archives.
            if isinstance(error, PlatformError) and error.status in RETRIED_STATUSES:
                raise
            return frozenset()


def _encoded(body: object) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise UsageError("a value holds text that is not Unicode (a lone surrogate)", hint="mend the value") from error


def _decoded(reply: Reply, into: type[T]) -> T:
    if into is bytes:
        return reply.body  # type: ignore[return-value]
    try:
        return msgspec.json.decode(reply.body or b"{}", type=into)
    except msgspec.ValidationError as error:
        raise _unreadable(reply.call, reply.status, str(error)) from error
    except msgspec.DecodeError as error:
        raise _unreadable(reply.call, reply.status, "it is no JSON") from error


def _unreadable(call: str, status: int, reason: str) -> PlatformError:
    words = reason.removeprefix("Object ")
    return PlatformError(
        f"the reply to {call} cannot be read: {words[:1].lower()}{words[1:]}",
        status=status,
        hint="does HUD_API_URL name a HUD platform? If so, this hud may be too old for it",
    )
