"""The task rows: a template with arguments is one row. `hud task list -s tasks.py` prints them."""

from env import fix_bug

tasks = [
    fix_bug(),
    fix_bug(difficulty=2),
    fix_bug(difficulty=3),
]
