"""What the first start makes: an admin key, kept in the data folder for the commands of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from hud import files
from hud.errors import HudError
from hud_platform.access.keys import mint
from hud_platform.storage.tables import api_keys

if TYPE_CHECKING:
    from hud_platform.backend import Backend
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["admin_key", "stored_admin_key"]


async def admin_key(backend: Backend) -> str | None:
    """Give the key that the first start made, or None once it is revoked or its file is gone.

    The first start is the one that finds no key at all: a platform whose keys were all revoked gets no new one by
    itself, but by `hud platform key create` on its machine.
    """
    kept = stored_admin_key(backend.data)
    if kept is not None:
        return kept if await backend.keys.caller(kept) is not None else None
    async with backend.database.begin() as connection:
        if await connection.scalar(select(func.count()).select_from(api_keys)):
            return None
        minted = await mint(connection, name="admin", scope="admin")
        # Within the transaction: a key that nobody was told is not left behind.
        files.replace(backend.data.admin_key, f"{minted.key}\n".encode(), mode=0o600)
    return minted.key


def stored_admin_key(data: DataFolder) -> str | None:
    """Give the key in the data folder, good or not."""
    try:
        return data.admin_key.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise HudError(
            f"{data.admin_key} cannot be read: {error}", hint="remove it; hud platform key create makes another"
        ) from error
