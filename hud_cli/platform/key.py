"""`hud platform key …`: make, list and revoke the API keys of this machine's platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from hud_cli import output
from hud_cli.platform.local import DEFAULT_DATA, DataOption, JsonOption, require_extra

if TYPE_CHECKING:
    from hud.platform.records import KeyRecord, Scope

__all__ = ["app"]

_SETTINGS = {"help_option_names": ["--help", "-h"]}

app = typer.Typer(name="key", help="API keys: make, list, revoke.", rich_markup_mode=None, context_settings=_SETTINGS)


@app.command("create", context_settings=_SETTINGS)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for; names need not be unique.")],
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="read, write (also deploy and sync), admin (also keys).")
    ] = "write",
    data: DataOption = DEFAULT_DATA,
    json: JsonOption = False,
) -> int:
    """Make an API key and print it, this one time."""
    require_extra()
    from dataclasses import asdict

    from hud_cli.platform import local_keys

    minted = local_keys.create(data, name=name, scope=cast("Scope", scope))
    if json:
        output.document({"key": minted.key, **asdict(minted.record)})
    else:
        output.data(f"{minted.key}\n")
        output.note(f"It may {minted.record.scope}. It cannot be shown again.")
    return 0


@app.command("list", context_settings=_SETTINGS)
def list_keys(
    data: DataOption = DEFAULT_DATA,
    include_revoked: Annotated[bool, typer.Option("--all", help="Revoked ones too.")] = False,
    json: JsonOption = False,
) -> int:
    """List the API keys: name, scope, prefix, when last used."""
    require_extra()
    from dataclasses import asdict

    from hud_cli.platform import local_keys

    records = [record for record in local_keys.records(data) if include_revoked or record.revoked_at is None]
    if json:
        output.document([asdict(record) for record in records])
        return 0
    if records:
        output.data(output.table([_cells(record) for record in records]))
    return 0


@app.command("revoke", context_settings=_SETTINGS)
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID|NAME|PREFIX", help="As hud platform key list shows it.")],
    data: DataOption = DEFAULT_DATA,
    json: JsonOption = False,
) -> int:
    """Revoke an API key; it is refused from now on."""
    require_extra()
    from dataclasses import asdict

    from hud_cli.platform import local_keys

    revoked = local_keys.revoke(data, key)
    if json:
        output.document(asdict(revoked))
    else:
        output.note(f"Revoked {revoked.name} ({revoked.prefix}…).")
    return 0


def _cells(record: KeyRecord) -> list[str]:
    used = f"used {output.moment(record.last_used_at)}" if record.last_used_at else "never used"
    state = f"revoked {output.moment(record.revoked_at)}" if record.revoked_at else used
    return [record.name, record.scope, f"{record.prefix}…", record.id, state]
