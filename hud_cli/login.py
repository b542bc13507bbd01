"""`hud login`: get a key of a platform through a browser (RFC 8628)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from hud_cli import output

if TYPE_CHECKING:
    from hud.platform.records import DeviceCode, DeviceKey

__all__ = ["login"]


def login(
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="The platform's API [default: HUD_API_URL].")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address, open nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say no more than the address and the code.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Get an API key through a browser and keep it.

    Prints an address and a code, and waits until somebody confirms the code there. The key goes into ~/.hud/.env,
    with the address of its platform.
    """
    from hud import settings
    from hud.platform.device_login import DeviceLogin

    api_url = settings.load().api_url if url is None else settings.checked("HUD_API_URL", url, source="--url")
    session = DeviceLogin(api_url)
    try:
        code = session.begin()
        _show(code, browser=not no_browser)
        key = session.wait(code)
    finally:
        session.close()
    moved = settings.keep_key(key.api_key, api_url=api_url)
    if json:
        document = {"api_url": api_url, "user": key.user, "team": key.team, "path": str(settings.stored_path())}
        output.document({**document, "moved_key": moved})
    elif not quiet:
        output.note(f"Logged in to {api_url}{_whose(key)}. The key is in {settings.stored_path()}.")
    if moved is not None:
        output.note(f"The key of the platform that was used before is kept there as {moved}.")
    if settings.find("HUD_API_KEY") != key.api_key:
        output.note("Commands here use another key all the same: HUD_API_KEY of the environment or ./.env comes first.")
    return 0


def _show(code: DeviceCode, *, browser: bool) -> None:
    from hud.platform.device_login import confirmation_url
    from hud.refusal import readable

    url = confirmation_url(code)
    output.note(f"Confirm the code {output.painted(readable(code.user_code), 'bold')} at")
    output.note(f"    {url or readable(code.verification_uri)}")
    if url is not None and browser and _has_browser():
        import webbrowser

        output.keep_stdout()  # a browser says things there
        webbrowser.open(url)
    output.note("Waiting for it; Ctrl-C gives up.")


def _has_browser() -> bool:
    """Whether a window can open where somebody looks: a browser in the terminal itself would hide the code."""
    if not output.is_interactive() or os.environ.get("SSH_CONNECTION"):
        return False
    if os.environ.get("BROWSER") or os.name == "nt":
        return True
    import sys

    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _whose(key: DeviceKey) -> str:
    from hud.refusal import readable

    names = [str(part.get(name) or "") for part, name in ((key.user or {}, "email"), (key.team or {}, "name"))]
    shown = ", team ".join(readable(name) for name in names if name)
    return f" as {shown}" if shown else ""
