"""The few pages that people see: plain HTML without scripts and without anything from elsewhere.

The policy that goes with each page forbids all but its own style, so text that found its way in unescaped could still
do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from litestar import Response

__all__ = ["escape", "page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #777; --accent: #0b62c4; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; --accent: #6db3ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
a { color: var(--accent); }
code, .code { font-family: ui-monospace, monospace; }
.code { font-size: 1.6rem; letter-spacing: .1em; }
.quiet { color: var(--quiet); }
.problem { border-left: 4px solid #c33; padding-left: 1rem; }
label, legend { display: block; font-weight: 600; margin: 1rem 0 .25rem; }
fieldset { border: 0; padding: 0; margin: 0; } fieldset label { font-weight: 400; margin: .25rem 0; }
input[type=text], input[type=password] { font: inherit; width: 100%; padding: .5rem; box-sizing: border-box; }
button { font: inherit; padding: .5rem 1.25rem; margin: 1.5rem .5rem 0 0; cursor: pointer; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid var(--line); padding: .4rem .5rem .4rem 0;
vertical-align: top; } td:first-child { white-space: nowrap; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def page(title: str, body: str, *, status: int = 200) -> Response[str]:
    """Make a page; the title is escaped here, the body's text by who writes it (`escape`)."""
    document = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n"
        "</html>\n"
    )
    return Response(document, status_code=status, media_type="text/html", headers=_HEADERS)
