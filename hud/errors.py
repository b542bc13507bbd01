"""Every error this project raises on purpose.

    HudError                     exit 1   "failure"
    ├── UsageError               exit 2   "usage"             wrong option, argument or selection
    ├── NotFoundError            exit 1   "not_found"         a task, image, file or container that is not there
    ├── EnvironmentLoadError     exit 1   "failure"           the author's source cannot be imported or declares nothing
    ├── HudProtocolError         exit 1   "failure"           an error reply, or a peer that does not speak the protocol
    ├── RuntimeStartError        exit 1   "failure"           a substrate that never became ready
    ├── PlatformError            exit 1   by its status       a platform that refused, or whose reply cannot be read
    ├── UnreachableError         exit 3   "unreachable"       Docker, an environment or a platform does not answer
    │   └── DeadlineError        exit 3   "timeout"           it did not answer in the time given
    └── NotAuthorisedError       exit 4   "permission_denied" no key or token, or one that is not accepted

Catch wide or narrow. A message is one sentence that holds the offending value; a hint is a command or an edit.
"""

from __future__ import annotations

__all__ = [
    "DeadlineError",
    "EnvironmentLoadError",
    "HudError",
    "HudProtocolError",
    "NotAuthorisedError",
    "NotFoundError",
    "PlatformError",
    "RuntimeStartError",
    "UnreachableError",
    "UsageError",
]


_KINDS = {409: "conflict", 429: "rate_limited"}


class HudError(Exception):
    """The root: what happened (`message`), what to do (`hint`), and the exit code a command ends with.

    Attributes:
        message: One sentence, without a trailing full stop.
        hint: A command or an edit that mends it, or None.
        exit_code: 1 failed, 2 usage, 3 unreachable, 4 not authorised.
        kind: The word that `--json` prints under `error`.
    """

    exit_code: int = 1
    kind: str = "failure"

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(HudError, ValueError):
    """A wrong option, argument or selection. It is a `ValueError` because Python callers of the SDK expect one."""

    exit_code = 2
    kind = "usage"


class NotFoundError(HudError, LookupError):
    """A task, environment, image, container or file that is not there."""

    kind = "not_found"

    # LookupError's own __str__ is Exception's, but KeyError's quotes the message; pin the plain form.
    __str__ = Exception.__str__


class EnvironmentLoadError(HudError):
    """The author's source cannot be imported, or its declarations do not hold together."""


class HudProtocolError(HudError):
    """An error frame from the other side of a control channel, or a peer that breaks the protocol.

    Attributes:
        code: The JSON-RPC error code (spec section 3).
    """

    def __init__(self, code: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code

    def __str__(self) -> str:
        return f"hud rpc error {self.code}: {self.message}"


class RuntimeStartError(HudError):
    """A substrate (process, container) ended or stayed silent before its control channel answered."""


class PlatformError(HudError):
    """A platform refused a call, is overloaded or broken, or sent a reply that cannot be read.

    Attributes:
        status: The HTTP status of the reply.
        kind: "conflict" (409), "rate_limited" (429), "server_error" (500 and above), else "failure".
    """

    def __init__(self, message: str, *, status: int, kind: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.kind = kind or _KINDS.get(status) or ("server_error" if status >= 500 else "failure")


class UnreachableError(HudError):
    """Docker, an environment or a platform does not answer."""

    exit_code = 3
    kind = "unreachable"


class DeadlineError(UnreachableError, TimeoutError):
    """Something did not answer within the time it was given; the message names that time."""

    kind = "timeout"


class NotAuthorisedError(HudError):
    """No key or token, or one that the other side does not accept."""

    exit_code = 4
    kind = "permission_denied"
