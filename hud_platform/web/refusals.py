"""Why a platform says no, each with its HTTP status; `replies` writes them out.

HudError
├── UsageError           400   what was sent cannot be done
├── NotAuthorisedError   401   no key, or one that is not known
│   └── Forbidden        403   a key whose scope does not reach
├── NotFoundError        404
├── Conflict             409   it fits the rules, but not the state of things
├── TooLarge             413
├── TooMany              429   with Retry-After
└── Busy                 503   with Retry-After: a temporary condition is never a 500 (PA-05)
"""

from __future__ import annotations

from hud.errors import HudError, NotAuthorisedError, NotFoundError, UsageError

__all__ = ["Busy", "Conflict", "Forbidden", "TooLarge", "TooMany", "status_of"]


class Forbidden(NotAuthorisedError):
    """The key is good, and may not do this."""


class Conflict(HudError):
    """What was asked does not fit the present state: a name that is taken, an upload that is not complete."""

    kind = "conflict"


class TooLarge(HudError):
    """More bytes, rows or files than a platform takes."""


class TooMany(HudError):
    """Asked too often.

    Attributes:
        retry_after_s: When asking again makes sense, 0 to 30.
    """

    kind = "rate_limited"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: int = 5) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class Busy(HudError):
    """A condition that passes: a database that is locked, a disk that is full.

    Attributes:
        retry_after_s: When asking again makes sense, 0 to 30.
    """

    kind = "server_error"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: int = 2) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


_STATUSES: tuple[tuple[type[HudError], int], ...] = (
    (Forbidden, 403),
    (NotAuthorisedError, 401),
    (NotFoundError, 404),
    (UsageError, 400),
    (Conflict, 409),
    (TooLarge, 413),
    (TooMany, 429),
    (Busy, 503),
)


def status_of(error: HudError) -> int:
    """Give the HTTP status of an error: 500 for one that is nobody's fault but the platform's."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
