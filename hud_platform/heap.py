"""How the C library keeps memory: buffers of uploads come and go by the thousand."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 64 * 2**20
_LARGEST_BYTES = 32 * 2**20  # more is not taken


def keep_freed() -> None:
    """Have some tens of megabytes that were freed kept for the next buffers, where the C library is glibc.

    It gives them back to the kernel otherwise, which then has to clear a page for every four kilobytes that arrive:
    a fifth of all that receiving a gigabyte costs.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
