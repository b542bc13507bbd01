"""The task rows: a template with arguments is one row. `hud task list -s tasks.py` prints them."""

from env import count

tasks = [
    count(sentence="Strawberry world", letter="r"),
    count(sentence="banana", letter="a"),
]
