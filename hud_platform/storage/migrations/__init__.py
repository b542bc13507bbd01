"""Alembic's migrations: a change of `hud_platform.storage.tables` is one more file in `versions`."""
