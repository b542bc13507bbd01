"""Name a table of rows; runs unchanged on both SDKs.

    slugs.py FOLDER   > {"rows": [slug, …], "calls": [[slug, arguments, …], …], "refused": [[error, message], …]}

FOLDER holds the common environment.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import importlib
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from hud import Task

sys.path.insert(0, sys.argv[1])
env: Any = importlib.import_module("env")


class Word(enum.StrEnum):
    A = "a"


class Printed:
    def __repr__(self) -> str:
        return "<printed>"


ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"sentence": "Strawberry world", "letter": "r"},
    {"letter": "r", "sentence": "Strawberry world"},
    {"a": 1},
    {"a": 1.0},
    {"a": True},
    {"a": None},
    {"a": "1"},
    {"a": ""},
    {"a": "ü 世界 \u2028 \U0001f600"},
    {"a": 'quote " slash \\ tag </script> nul \x00 del \x7f'},
    {"A": 1, "a": 2, "_": 3, "Z": 4, "ä": 5},
    {"a": [1, [2, {"z": 1, "y": [None]}], {}]},
    {"a": {"b": {"d": 1, "c": 2}}},
    {"a": 10**30},
    {"a": -0.0},
    {"a": 1e300},
    {"a": 1e-7},
    {"a": 0.1 + 0.2},
    {"a": float("nan"), "b": float("inf"), "c": -float("inf")},
    {"a": (1, 2)},
    {"a": {1: 2, 3: 4}},
    {"a": datetime.date(2020, 1, 2)},
    {"a": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)},
    {"a": decimal.Decimal("1.50")},
    {"a": pathlib.PurePosixPath("/x/y")},
    {"a": b"x"},
    {"a": Word.A},
    {"a": Printed()},
    {"a": env.Point(1)},
    {"a": env.Color.RED},
    {"a": env.Verdict(final=1)},
    {"a": "x" * 100_000},
]

CALLS: list[Callable[[], Task]] = [
    lambda: env.add(4),
    lambda: env.add(b=5, a=4),
    lambda: env.typed(1, tags=["x"], ratio=0.25),
    lambda: env.typed(tags=["x"], count=1),
    lambda: env.typed(1, point=env.Point(1, 2), color=env.Color.GREEN, verdict=env.Verdict(final=3)),
    lambda: env.takes_anything(1),
    lambda: env.judge(),
]

REFUSED: list[Callable[[], Task]] = [
    lambda: env.add(),
    lambda: env.add(1, 2, 3),
    lambda: env.add(1, c=3),
    lambda: env.add(1, a=2),
]


def refusal(call: Callable[[], Task]) -> list[str]:
    try:
        return ["accepted", call().slug]
    except TypeError as error:
        return ["TypeError", str(error)]


def main() -> dict[str, Any]:
    calls = [call() for call in CALLS]
    return {
        "rows": [Task(env="e", id="count", args=args).slug for args in ARGUMENTS],
        "calls": [[task.slug, task.env, task.id, repr(task.args)] for task in calls],
        "refused": [refusal(call) for call in REFUSED],
    }


if __name__ == "__main__":
    print(json.dumps(main()))
