"""The page where a person approves a login, as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hud_platform.web.html import escape, page

if TYPE_CHECKING:
    from litestar import Response

    from hud.errors import HudError

__all__ = ["decided", "form"]

_SCOPES = (
    ("read", "read: see environments, builds and tasks"),
    ("write", "write: also deploy and sync"),
    ("admin", "admin: also manage keys"),
)
_LONGEST_CODE = 20  # of what is shown again


def form(code: str, client_name: str | None, *, problem: HudError | None, status: int) -> Response[str]:
    """Give the form; with a code under which a login waits, for that login."""
    parts = []
    if problem is not None:
        hint = f"<br>{escape(problem.hint)}" if problem.hint else ""
        parts.append(f'<p class="problem" role="alert">{escape(_sentence(str(problem)))}{hint}</p>')
    if client_name is not None:
        parts.append(
            f"<p><strong>{escape(client_name)}</strong> asks for an API key of this platform. Approve it only if you "
            f'began this yourself, and your terminal shows</p>\n<p class="code">{escape(code[:_LONGEST_CODE])}</p>'
        )
    else:
        parts.append("<p>A terminal that runs <code>hud login</code> shows a code. Type it here.</p>")
    parts.append(_fields(code, is_known=client_name is not None))
    return page("Log in a device", "\n".join(parts), status=status)


def decided(client_name: str, *, approved: bool) -> Response[str]:
    """Give the page that ends it."""
    if approved:
        return page(
            "Approved", f"<p><strong>{escape(client_name)}</strong> gets its key now. You can close this page.</p>"
        )
    return page("Denied", f"<p><strong>{escape(client_name)}</strong> gets no key. You can close this page.</p>")


def _fields(code: str, *, is_known: bool) -> str:
    kind = "hidden" if is_known else "text"
    label = "" if is_known else '<label for="code">Code</label>\n'
    scopes = "\n".join(
        f'<label><input type="radio" name="scope" value="{name}"{" checked" if name == "write" else ""}> '
        f"{escape(words)}</label>"
        for name, words in _SCOPES
    )
    return f"""<form method="post" action="/device" autocomplete="off">
{label}<input type="{kind}" id="code" name="code" value="{escape(code[:_LONGEST_CODE])}">
<label for="key">Your API key, with the scope write or admin</label>
<input type="password" id="key" name="key" required autocomplete="off" aria-describedby="where">
<p class="quiet" id="where">On the platform's machine <code>hud platform up</code> printed one; it is in
<code>keys/admin.key</code> of the data folder.</p>
<fieldset>
<legend>The new key may</legend>
{scopes}
</fieldset>
<button name="action" value="approve">Approve</button>
<button name="action" value="deny">Deny</button>
</form>"""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
