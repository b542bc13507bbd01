"""What a session answers with: refusals, and results that fit a frame."""

from __future__ import annotations

import os
from typing import Any

from hud.wire import INVALID_PARAMS, LIMIT_BYTES, TASK_ERROR, encode_result

__all__ = ["ROOMY", "Refused", "fitting", "mint", "oversize", "params_object"]

ROOMY = LIMIT_BYTES // 2
"""A result of at most this many characters fits a frame with any id that came in one, within reason."""


class Refused(Exception):
    """A call that is answered with an error frame."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def mint() -> str:
    """Make a session id: 128 bits, safe as a directory name (CC-17)."""
    return f"sess-{os.urandom(16).hex()}"


def params_object(params: Any) -> dict[str, Any]:
    """Give a request's params, or raise the refusal of what is no object."""
    if type(params) is dict:
        return params
    if not params:  # absent, null, and what older peers send for it
        return {}
    raise Refused(INVALID_PARAMS, f"params must be an object, got {type(params).__name__}")


def fitting(request_id: Any, result: str) -> str:
    """Give a result that fits a frame, or raise the refusal of one that does not (CC-06)."""
    if len(result) > ROOMY and (refusal := oversize(request_id, result)) is not None:
        raise Refused(TASK_ERROR, refusal)
    return result


def oversize(request_id: Any, result: str) -> str | None:
    """Say that a reply would be too large for a frame, or give None (CC-06)."""
    size = len(encode_result(request_id, result)) - 1
    if size <= LIMIT_BYTES:
        return None
    limit = f"limit is {LIMIT_BYTES} bytes (excluding the newline)"
    return f"Control-channel response is {size} bytes; {limit}. Send less of it."
