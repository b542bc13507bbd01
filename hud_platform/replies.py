"""How errors leave: `{"detail": one sentence, "code": a stable word, "hint"?: what to do}` and a fitting status (PA-04)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from hud.errors import HudError, NotAuthorisedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from litestar.types import ExceptionHandlersMap

__all__ = ["handlers"]


def _of_hud_error(_: Request[Any, Any, Any], error: HudError) -> Response[dict[str, str]]:
    body = {"detail": str(error), "code": error.kind}
    if error.hint:
        body["hint"] = error.hint
    return Response(body, status_code=_status(error), media_type="application/json")


def _status(error: HudError) -> int:
    if isinstance(error, NotAuthorisedError):
        return 401
    if isinstance(error, NotFoundError):
        return 404
    return 400 if isinstance(error, UsageError) else 500


def _of_http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    body = {"detail": error.detail, "code": "failure"}
    return Response(body, status_code=error.status_code, headers=error.headers, media_type="application/json")


handlers: ExceptionHandlersMap = {HudError: _of_hud_error, HTTPException: _of_http_error}
