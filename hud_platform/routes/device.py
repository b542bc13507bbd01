"""Device login: the two calls of a device, and the page where a person approves it."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, Parameter
from msgspec import Struct

from hud.errors import HudError, NotAuthorisedError, UsageError
from hud.platform.records import DeviceCode, DeviceKey
from hud_platform.access import device_login, device_page
from hud_platform.access.access import require
from hud_platform.access.keys import is_scope
from hud_platform.access.rate_limit import RateLimit
from hud_platform.backend import Backend
from hud_platform.web.refusals import Forbidden, status_of
from hud_platform.web.replies import error_body

__all__ = ["routes"]

_codes = RateLimit(30)
_polls = RateLimit(300)
_decisions = RateLimit(30)


class NewDevice(Struct, kw_only=True):
    """What a device says of itself."""

    client_name: str = ""
    client_version: str = ""


class Poll(Struct, kw_only=True):
    """What a device asks with."""

    device_code: str


class Decision(Struct, kw_only=True):
    """The page's form."""

    code: str = ""
    key: str = ""
    scope: str = ""
    action: str = ""


@post("/auth/device/code", opt={"open": True}, status_code=200)
async def begin(request: Request[Any, Any, Any], backend: Backend, data: NewDevice) -> DeviceCode:
    """Begin a login: a code for the device to poll with, and one for a person to confirm."""
    _codes.take(_address(request))
    async with backend.database.begin() as connection:
        return await device_login.begin(connection, client_name=data.client_name, url=backend.url)


@post("/auth/device/token", opt={"open": True}, status_code=200)
async def fetch(request: Request[Any, Any, Any], backend: Backend, data: Poll) -> Response[Any]:
    """Give the device its key once it is approved, one time; until then 400 and a word of RFC 8628."""
    _polls.take(_address(request))
    async with backend.database.begin() as connection:
        given = await device_login.fetch(connection, data.device_code)
    if isinstance(given, device_login.DeviceError):
        return Response({"error": given.word, **error_body(str(given), given.word)}, status_code=400)
    return Response(DeviceKey(api_key=given), headers={"Cache-Control": "no-store"})


@get("/device", opt={"open": True})
async def show(
    backend: Backend,
    code: str = "",
    user_code: Annotated[str, Parameter(query="user_code")] = "",
) -> Response[str]:
    """The page where a person confirms a code."""
    return await _form(backend, code or user_code)


@post("/device", opt={"open": True}, status_code=200)
async def decide(
    request: Request[Any, Any, Any],
    backend: Backend,
    data: Annotated[Decision, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str]:
    """What the page's form sends: the code, a key that may approve, and the decision."""
    try:
        _decisions.take(_address(request))
        _refuse_other_sites(request)
        approver = await require(backend, data.key.strip(), "write")
        scope = _wanted_scope(data)
        async with backend.database.begin() as connection:
            name = await device_login.decide(connection, data.code, approver=approver, scope=scope)
    except HudError as error:
        status = 403 if isinstance(error, NotAuthorisedError) else status_of(error)
        return await _form(backend, data.code, problem=error, status=status)
    return device_page.decided(name, approved=scope is not None)


async def _form(backend: Backend, code: str, *, problem: HudError | None = None, status: int = 200) -> Response[str]:
    client_name = None
    if code:
        try:
            async with backend.database.connect() as connection:
                client_name = (await device_login.pending(connection, code)).client_name
        except HudError as error:
            if problem is None:
                problem, status = error, status_of(error)
    return device_page.form(code, client_name, problem=problem, status=status)


def _wanted_scope(data: Decision) -> Any:
    """Give the scope that was chosen, or None for a denial."""
    if data.action == "deny":
        return None
    if data.action != "approve" or not is_scope(data.scope):
        raise UsageError("choose what the new key may do, and approve or deny")
    return data.scope


def _refuse_other_sites(request: Request[Any, Any, Any]) -> None:
    """Take the form from this page alone. The key in it is what counts; this keeps others from guessing keys by it."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "null")
    if site not in ("same-origin", "none") or (
        origin != "null" and origin.partition("://")[2] != request.headers.get("host", "")
    ):
        raise Forbidden("the form came from another site")


def _address(request: Request[Any, Any, Any]) -> str:
    return request.client.host if request.client else ""


routes: list[Any] = [begin, fetch, show, decide]
