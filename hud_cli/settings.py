"""`hud set`: keep settings in ~/.hud/.env."""

from __future__ import annotations

from typing import Annotated

import typer

from hud.errors import UsageError
from hud_cli import output

__all__ = ["set_settings"]


def set_settings(
    items: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE", help="A setting; without a value, it is taken out.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Keep settings such as HUD_API_KEY=… in ~/.hud/.env.

    Only its owner may read that file. Values that are not named stay.
    """
    from hud import settings

    values = dict(_parsed(item) for item in items)
    settings.save(values)
    path = settings.stored_path()
    kept = [name for name, value in values.items() if value is not None]
    removed = [name for name, value in values.items() if value is None]
    if json:
        output.document({"kept": kept, "removed": removed, "path": str(path)})
    else:
        for words, names in ((f"Kept in {path}", kept), (f"Taken out of {path}", removed)):
            if names:
                output.note(f"{words}: {', '.join(names)}.")
    for name in kept:
        if (found := settings.find(name)) != values[name] and found is not None:
            output.note(f"{name} has another value here: the environment or ./.env comes first.")
    return 0


def _parsed(item: str) -> tuple[str, str | None]:
    """Give the name and the value of `KEY=VALUE`.

    Raises:
        UsageError: it has another form, or the value is not what the setting holds.
    """
    from hud.settings import checked

    name, equals, value = item.partition("=")
    if not equals or not name:
        # The item itself may be a key whose name was forgotten: it is not repeated.
        raise UsageError("a setting has the form KEY=VALUE", hint="hud set HUD_API_KEY=…")
    return name, checked(name, value, source="the command line") if value else None
