"""The rows that `hud task list` prints."""

from env import add

tasks = [add(a=4), add(a=5, b=6)]
