"""The front page, and the API's description."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from hud.version import __version__
from hud_platform.backend import Backend
from hud_platform.web import openapi
from hud_platform.web.html import escape, page

__all__ = ["routes"]


@get("/", opt={"open": True}, include_in_schema=False)
async def front(request: Request[Any, Any, Any], backend: Backend) -> Response[Any]:
    """What this is: a page for people, JSON for programs."""
    if "text/html" not in request.headers.get("accept", ""):
        return Response({"server": "hud-platform", "version": __version__, "docs": f"{backend.url}/docs"})
    url = escape(backend.url)
    return page(
        "HUD platform",
        f"""<p>A self-hosted HUD platform, version {escape(__version__)}. To use it from a terminal:</p>
<pre><code>hud login --url {url}
hud deploy
hud sync tasks my-taskset</code></pre>
<p><a href="/docs">What its API answers</a> · <a href="/device">Log in a device</a></p>""",
    )


@get("/docs", opt={"open": True}, include_in_schema=False)
async def docs(request: Request[Any, Any, Any]) -> Response[str]:
    """The API's description as a page."""
    return page("HUD platform API", openapi.body(_document(request)))


@get("/docs/openapi.json", opt={"open": True}, include_in_schema=False)
async def openapi_document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The API's description as an OpenAPI document."""
    return _document(request)


def _document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Describe the application, once."""
    state = request.app.state
    if "openapi" not in state:
        state.openapi = openapi.describe(state.handlers)
    document: dict[str, Any] = state.openapi
    return document


routes: list[Any] = [front, docs, openapi_document]
