"""Builds on a platform: begin, look, cancel, list.

Source: platform API specification, section 6. What begins a build carries its id, so that it may be sent again (PA-07).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from hud.platform.client import Platform
from hud.platform.records import (
    RUNNING_STATUSES,
    BuildRecord,
    BuildRequest,
    BuildStarted,
    BuildStatus,
    BuildTicket,
    Cancelled,
)

__all__ = ["cancel", "is_running", "list_builds", "open_upload", "path", "start", "status", "trigger"]

_ALWAYS = ("build_id", "name", "no_cache")


def open_upload(platform: Platform) -> BuildTicket:
    """Get the id of a build to come, and where to put its context archive."""
    return platform.call("POST", "/builds/upload-url", into=BuildTicket, idempotent=True)  # one unused does no harm


def trigger(platform: Platform, request: BuildRequest) -> BuildStarted:
    """Begin the build of an archive that was put at its address.

    Raises:
        PlatformError: the platform refuses it, such as a build whose archive is not there.
    """
    body = {"source": "direct", **_fields(request)}
    return platform.call("POST", "/builds/trigger", into=BuildStarted, body=body, idempotent=True)


def start(platform: Platform, request: BuildRequest, *, context_digest: str) -> BuildStarted:
    """Begin the build of a context that the platform has (extension `contexts`).

    Raises:
        PlatformError: the platform refuses it, such as a context that is not complete (409).
    """
    body = {"context_digest": context_digest, **_fields(request)}
    return platform.call("POST", "/builds", into=BuildStarted, body=body, idempotent=True)


def path(build_id: str) -> str:
    """Give where a build is; ids are opaque, and one may be typed wrongly."""
    return f"/builds/{quote(build_id, safe='')}"


def status(platform: Platform, build_id: str) -> BuildStatus:
    """Give the state of a build.

    Raises:
        NotFoundError: there is none of this id.
    """
    return platform.call("GET", f"{path(build_id)}/status", into=BuildStatus)


def is_running(status: BuildStatus) -> bool:
    """Whether a build has not ended (PA-38)."""
    return status.status in RUNNING_STATUSES


def cancel(platform: Platform, build_id: str) -> bool:
    """Ask a build to stop, and say whether there was anything to stop (extension `builds`)."""
    platform.need("builds", what="the cancelling of builds")
    reply = platform.call("POST", f"{path(build_id)}/cancel", into=Cancelled, idempotent=True)
    return reply.status != "noop"


def list_builds(platform: Platform, *, environment_id: str | None = None) -> Iterator[BuildRecord]:
    """Give builds, newest first; those of one environment when it is named (extension `builds`)."""
    platform.need("builds", what="a list of builds")
    return platform.rows("/builds", into=BuildRecord, params={"registry_id": environment_id}, page_rows=100)


def _fields(request: BuildRequest) -> dict[str, Any]:
    """Give what travels: nothing that is empty or was not set (PA-37)."""
    return {name: value for name, value in asdict(request).items() if name in _ALWAYS or value not in (None, {})}
