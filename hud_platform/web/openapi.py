"""The API's description: an OpenAPI document, and a page made of it without a script, so that it works offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig

from hud.version import __version__
from hud_platform.web.html import escape

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler

__all__ = ["body", "describe"]

_METHODS = ("get", "post", "put", "patch", "delete")


def describe(handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """Give the OpenAPI document of some handlers.

    It comes from an application that serves nothing: Litestar's own pages load scripts from elsewhere, and answer
    unknown paths with HTML (PA-04).
    """
    app = Litestar(
        [*handlers],
        # By their names they are no parameters of a request; two functions, as Litestar tells providers apart by them.
        dependencies={
            "backend": Provide(lambda: None, sync_to_thread=False),
            "caller": Provide(lambda: None, sync_to_thread=False),
        },
        openapi_config=OpenAPIConfig(
            title="HUD platform",
            version=__version__,
            description="A self-hosted HUD platform. All routes but the open ones take `Authorization: Bearer <key>`.",
            use_handler_docstrings=True,
        ),
        logging_config=None,
    )
    return app.openapi_schema.to_schema()


def body(document: dict[str, Any]) -> str:
    """Give the document as the body of a page: a row a call, in sections by subject."""
    return "\n".join(_lines(document))


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield f"<p>{escape(document['info']['description'])}</p>"
    yield '<p><a href="/docs/openapi.json">The same as an OpenAPI document</a></p>'
    section = None
    for path, operations in sorted(document["paths"].items(), key=lambda item: (_section(item[0]), item[0])):
        if _section(path) != section:
            yield ("" if section is None else "</table>\n") + f"<h2>{escape(_section(path))}</h2>\n<table>"
            section = _section(path)
        yield from (_row(method, path, operations[method], document) for method in _METHODS if method in operations)
    yield "</table>"


def _section(path: str) -> str:
    words = [word for word in path.split("/") if word]
    return words[1] if words[0] == "v2" and len(words) > 1 else words[0]


def _row(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    words = operation.get("description") or operation.get("summary") or ""
    fields = ", ".join(_fields(operation, document))
    told = f'<br><span class="quiet">{escape(fields)}</span>' if fields else ""
    return f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(words)}{told}</td></tr>"


def _fields(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """Give what a call takes in its query and its body; a star marks what it needs."""
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "query":
            yield f"?{parameter['name']}{'*' if parameter.get('required') else ''}"
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content.get("schema", {})
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        schema = document["components"]["schemas"].get(name, schema)
        required = schema.get("required", [])
        yield from (f"{field}{'*' if field in required else ''}" for field in schema.get("properties", {}))
