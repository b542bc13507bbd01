"""How errors leave: `{"detail": a sentence, "code": a stable word, "hint"?: what to do}` and a fitting status (PA-04).

Values that do not fit a body's fields are told as a list, 422, as the public service tells them.
"""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hud.errors import HudError
from hud_platform.web.refusals import Busy, TooMany, status_of

if TYPE_CHECKING:
    from litestar.types import ExceptionHandlersMap

__all__ = ["error_body", "handlers"]

_log = logging.getLogger("hud_platform")

_CODES = {
    400: "usage",
    401: "permission_denied",
    403: "permission_denied",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    429: "rate_limited",
}
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCKED = ("database is locked", "database table is locked", "database is busy")
_FULL = ("database or disk is full", "disk i/o error", "no space left", "disk full")
_NO_BODY = "'data'"  # how Litestar tells that a handler's `data` has no value
_LEFT = "client disconnected prematurely"  # and of a client that is gone, which is no fault of the platform
_LONGEST_BUSY_S = 30  # longer waits are cut by clients (PA-05)


def error_body(detail: object, code: str, hint: str | None = None) -> dict[str, object]:
    """Give the body of an error reply."""
    return {"detail": detail, "code": code, **({"hint": hint} if hint else {})}


def _reply(status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response[Any]:
    return Response(body, status_code=status, headers=dict(headers or {}), media_type="application/json")


def _of_hud_error(request: Request[Any, Any, Any], error: HudError) -> Response[Any]:
    headers = {}
    status = status_of(error)
    if isinstance(error, (TooMany, Busy)):
        headers["Retry-After"] = str(min(max(error.retry_after_s, 0), _LONGEST_BUSY_S))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return _reply(status, error_body(str(error), error.kind, error.hint), headers)


def _of_validation(_: Request[Any, Any, Any], error: ValidationException) -> Response[Any]:
    problems = error.extra if isinstance(error.extra, list) else []
    if any(isinstance(problem, dict) and problem.get("message") == _NO_BODY for problem in problems):
        return _reply(400, error_body("the request has no body, and this needs a JSON document", "usage"))
    listed = [
        {
            "loc": [problem.get("source") or "body", *str(problem.get("key") or "").split(".")],
            "msg": str(problem.get("message") or error.detail),
            "type": "value_error",
        }
        for problem in problems
        if isinstance(problem, dict)
    ]
    return _reply(422, error_body(listed or error.detail, "usage"))


def _of_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    status = error.status_code
    detail = str(error.detail)
    if detail == _LEFT:
        return _reply(400, error_body("the connection ended before the request did", "usage"))
    if status >= 500:
        return _of_defect(request, error)
    if status == 404:
        detail = f"there is nothing at {request.url.path}"
    elif status == 405:
        detail = f"{request.url.path} does not answer to {request.method}"
    elif status == 413:
        detail = "the request's body is larger than this route takes"
    return _reply(status, error_body(detail, _CODES.get(status, "failure")), error.headers)


def _of_database_error(request: Request[Any, Any, Any], error: DBAPIError) -> Response[Any]:
    text = str(error.orig).lower()
    if any(words in text for words in _LOCKED):
        return _of_hud_error(request, Busy("the database is busy", hint="try again in a moment"))
    if any(words in text for words in _FULL):
        return _of_hud_error(request, _disk_full())
    if error.connection_invalidated or type(error.orig).__name__ in ("OperationalError", "InterfaceError"):
        _log.error("the database does not answer: %s", error.orig)
        return _of_hud_error(request, Busy("the database does not answer", retry_after_s=5))
    return _of_defect(request, error)


def _of_pool_timeout(request: Request[Any, Any, Any], _: PoolTimeout) -> Response[Any]:
    return _of_hud_error(request, Busy("every connection to the database is in use"))


def _of_os_error(request: Request[Any, Any, Any], error: OSError) -> Response[Any]:
    if error.errno in _DISK_FULL:
        return _of_hud_error(request, _disk_full())
    return _of_defect(request, error)


def _of_recursion(_: Request[Any, Any, Any], __: RecursionError) -> Response[Any]:
    return _reply(400, error_body("the request's body is nested too deeply", "usage"))


def _disk_full() -> Busy:
    return Busy(
        "the platform's disk is full", hint="free some space there, such as with hud platform gc", retry_after_s=30
    )


def _of_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer for a defect of ours: the traceback goes to the log, under an id that the reply names."""
    defect_id = secrets.token_hex(4)
    _log.error("defect %s in %s %s", defect_id, request.method, request.url.path, exc_info=error)
    detail = f"the platform met a defect of its own, {defect_id}"
    return _reply(500, error_body(detail, "server_error", f"hud platform logs shows it under {defect_id}"))


handlers: ExceptionHandlersMap = {
    HudError: _of_hud_error,
    ValidationException: _of_validation,
    HTTPException: _of_http_error,
    DBAPIError: _of_database_error,
    PoolTimeout: _of_pool_timeout,
    OSError: _of_os_error,
    RecursionError: _of_recursion,
    Exception: _of_defect,
}
