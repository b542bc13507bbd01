"""The task rows: a template with arguments is one row. `hud task list -s tasks.py` prints them."""

from env import steer

tasks = [steer(target=target) for target in (0, 3, 5, 7)]
