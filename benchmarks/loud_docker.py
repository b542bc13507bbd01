"""A stand-in for the `docker` command whose every build prints lines at a steady rate, or as fast as they are taken.

The platform that finds it first on its PATH reads, keeps and sends the log of such a build as it does that of any
other. Each line begins with the time at which it was printed, in nanoseconds. LOUD_LINES says how many, LOUD_RATE how
many a second (0: as fast as they are taken), LOUD_PAUSE_S how long it waits before the first.
"""

from __future__ import annotations

import os
import sys
import time

_TICK_S = 0.005
_TEXT = "a line of the length that lines of builds have: 60 to 80"


def main(arguments: list[str]) -> int:
    if arguments[:2] == ["buildx", "version"]:
        return 0
    if arguments[:1] != ["build"]:
        return 1
    lines, rate = int(os.environ["LOUD_LINES"]), int(os.environ["LOUD_RATE"])
    _write(b"#1 [1/1] RUN loud\n")
    time.sleep(float(os.environ["LOUD_PAUSE_S"]))
    each = int(rate * _TICK_S) or 1000
    begun = time.monotonic()
    for first in range(0, lines, each):
        now = time.time_ns()
        numbers = range(first, min(first + each, lines))
        _write("".join(f"#1 0.1 {now} {number} {_TEXT}\n" for number in numbers).encode())
        ahead_s = begun + (first + each) / rate - time.monotonic() if rate else 0.0
        if ahead_s > 0:
            time.sleep(ahead_s)
    time.sleep(float(os.environ["LOUD_PAUSE_S"]) / 10)  # its end is a frame of its own
    _write(b"#1 ERROR: it was loud enough\n")
    return 1


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
