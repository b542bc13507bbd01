"""Alembic's migrations: a change of `hud_platform.tables` is one more file in `versions`."""
