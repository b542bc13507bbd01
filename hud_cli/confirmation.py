"""Ask before something is done."""

from __future__ import annotations

from hud.errors import HudError, UsageError
from hud_cli import output

__all__ = ["agreed", "says_yes"]


def agreed(deed: str, *, as_json: bool) -> bool:
    """Ask on a terminal whether to do it.

    Args:
        deed: What would be done, such as "upload 3 rows to demo".
        as_json: Whether the command prints a document: then nobody is asked.

    Raises:
        UsageError: nobody can be asked.
        HudError: the input ended without an answer.
    """
    if as_json or not output.is_interactive():
        raise UsageError(f"nobody can be asked whether to {deed}", hint="--yes answers it")
    return says_yes(f"{deed[:1].upper()}{deed[1:]}?")


def says_yes(question: str) -> bool:
    """Ask somebody who is at a terminal; everything but `y` and `yes` is a no.

    Raises:
        HudError: the input ended without an answer.
    """
    try:
        return output.ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        raise HudError("no answer") from None
