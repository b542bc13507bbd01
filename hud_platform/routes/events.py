"""Usage events of the public client: taken and thrown away."""

from __future__ import annotations

from typing import Any

from litestar import post

__all__ = ["routes"]


@post(
    ["/v3/api/sdk-events/cli", "/v2/sdk-events/cli", "/sdk-events/cli"],
    opt={"open": True},
    status_code=204,
)
async def discard() -> None:
    """Answer at once; nothing is read or kept."""


routes: list[Any] = [discard]
