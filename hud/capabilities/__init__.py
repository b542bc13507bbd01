"""What an environment offers an agent beside the prompt: a shell, tools, a browser, a screen, a robot."""

from hud.capabilities.capability import Capability

__all__ = ["Capability"]
