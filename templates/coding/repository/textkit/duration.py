"""Durations as people write them."""

import re

SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> int:
    """Give the seconds of a duration: `"90m"`, `"1h30m"`, `"1d 2h 15s"`.

    The units are d, h, m and s, in this order, each at most once; white space may stand around and between the
    parts. Digits are 0 to 9.

    Raises:
        ValueError: anything else, an empty text too.
    """
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def format_duration(seconds: int) -> str:
    """Give the shortest text that `parse_duration` reads back, without white space: 5400 is `"1h30m"`, 0 is `"0s"`.

    Raises:
        ValueError: `seconds` is negative.
    """
    parts = []
    for unit, size in SECONDS.items():
        if seconds > size:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    return "".join(parts)
