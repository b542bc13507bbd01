"""The self-hosted platform: the other side of `hud deploy` and `hud sync tasks`."""
