"""The task rows: a template with arguments is one row. `hud task list -s tasks.py` prints them."""

from env import count, fix_bug

tasks = [
    count(sentence="Strawberry world", letter="r"),
    count(sentence="banana", letter="a"),
    fix_bug(),
    fix_bug(difficulty=2),
    fix_bug(difficulty=3),
]
