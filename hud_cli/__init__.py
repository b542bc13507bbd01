"""The `hud` command."""
