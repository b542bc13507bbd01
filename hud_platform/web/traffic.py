"""Every request counted, and those that change something or go wrong logged, without query, header or key (PA-14)."""

from __future__ import annotations

import json
import logging
from time import perf_counter
from typing import TYPE_CHECKING

from litestar.enums import ScopeType

from hud_platform.web.replies import error_body

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import Message, Receive, Scope, Send

    from hud_platform.web.metrics import Metrics

__all__ = ["Traffic"]

_log = logging.getLogger("hud_platform.requests")
_QUIET = frozenset({"GET", "HEAD", "OPTIONS"})


_MOST_AT_ONCE = 1000
"""Requests that are answered at a time; each holds memory, and beyond this many all only get slower."""

_REFUSAL = json.dumps(error_body("the platform answers too many requests now", "server_error")).encode()


class Traffic:
    """An ASGI application around another one."""

    def __init__(self, app: Litestar, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.WEBSOCKET:
            await self._app(scope, receive, send)
            return
        if self._answering >= _MOST_AT_ONCE:
            await _refuse(send)
            self._metrics.count_request(scope["method"], "refused", 503, 0.0)
            return
        self._answering += 1
        begun = perf_counter()
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            try:
                await send(message)
            except RuntimeError as error:
                # uvloop says so of a connection whose client left a moment ago; nobody is there to be answered.
                if "closed" not in str(error):
                    raise

        try:
            await self._app(scope, receive, note_status)
        finally:
            self._answering -= 1
            took_s = perf_counter() - begun
            method = scope["method"]
            route = scope.get("path_template") or "unknown"
            self._metrics.count_request(method, route, status, took_s)
            if method not in _QUIET or status >= 400:
                caller = scope.get("caller")
                who = f"{caller.name!r}" if caller is not None else "-"  # type: ignore[attr-defined]
                _log.info("%s %s %d %.1f ms %s", method, ascii(scope["path"])[1:-1], status, took_s * 1e3, who)


async def _refuse(send: Send) -> None:
    """Answer before anything is read or looked up (PA-05)."""
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"1"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSAL, "more_body": False})
