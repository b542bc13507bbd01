"""How often somebody may ask: a number of times in a sliding minute, by address."""

from __future__ import annotations

import time
from collections import deque

from hud_platform.web.refusals import TooMany

__all__ = ["RateLimit"]

_WINDOW_S = 60.0
_LONGEST_WAIT_S = 30
_MOST_ADDRESSES = 10_000


class RateLimit:
    """A limit of `times` in a minute for each address."""

    def __init__(self, times: int) -> None:
        self._times = times
        self._asked: dict[str, deque[float]] = {}

    def take(self, address: str) -> None:
        """Count one more.

        Raises:
            TooMany: the address had its number in the last minute.
        """
        now = time.monotonic()
        asked = self._asked.setdefault(address, deque())
        while asked and asked[0] <= now - _WINDOW_S:
            asked.popleft()
        if len(asked) >= self._times:
            wait_s = min(int(asked[0] + _WINDOW_S - now) + 1, _LONGEST_WAIT_S)
            raise TooMany("asked too often", hint=f"wait {wait_s} s", retry_after_s=wait_s)
        asked.append(now)
        if len(self._asked) > _MOST_ADDRESSES:
            self._asked = {address: times for address, times in self._asked.items() if times[-1] > now - _WINDOW_S}
