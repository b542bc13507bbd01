"""The task rows: a template with arguments is one row. `hud task list -s tasks.py` prints them."""

from env import order, read_code

tasks = [
    read_code(),
    order(item="tea", quantity=3, customer="Ada Lovelace"),
    order(item="coffee", quantity=12, customer="Łukasz O'Neill"),
]
