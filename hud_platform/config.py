"""How a platform runs: one folder and nothing else by default; a database, a bucket and a registry when it grows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PlatformConfig"]


@dataclass(frozen=True, kw_only=True)
class PlatformConfig:
    """Everything that a platform is told from outside.

    Attributes:
        data: The folder that holds all its state.
        host: The address to bind.
        port: The port to bind; 0 takes a free one.
        url: The address that clients are given, such as that of a proxy in front; None for the one that is bound.
        database_url: An SQLAlchemy address; None for SQLite in the data folder.
        blobs_url: An `obstore` address such as `s3://bucket/prefix`; None for files in the data folder.
        registry: The OCI registry and prefix that images are pushed to, such as `registry.local:5000/hud`, or None.
        builds_at_once: How many builds run at the same time; further ones wait.
        build_timeout_s: How long one build may take, its smoke start included.
        build_memory_mb: Memory of one process of a build's steps, or None for no limit; engines before 23 have none.
        free_disk_mb: Disk that builds leave free; one that would not, ends.
        upload_limit_bytes: The largest context, packed or not.
        log_limit_bytes: How much of a build's log is kept; the build goes on beyond it.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8800
    url: str | None = None
    database_url: str | None = None
    blobs_url: str | None = None
    registry: str | None = None
    builds_at_once: int = 2
    build_timeout_s: float = 3600.0
    build_memory_mb: int | None = None
    free_disk_mb: int = 1024
    upload_limit_bytes: int = 20 * 2**30
    log_limit_bytes: int = 64 * 2**20

    @property
    def public_url(self) -> str:
        """The address that clients are given, without a trailing slash; `port` has to be a real one by then."""
        if self.url is not None:
            return self.url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # read, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
