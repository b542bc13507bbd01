"""`hud platform up`: start a platform, in the foreground or apart, and point this user's commands to it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hud.errors import UsageError
from hud_cli import output
from hud_cli.platform.local import DEFAULT_DATA, DataOption, JsonOption, require_extra

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig
    from hud_platform.server_info import ServerInfo

__all__ = ["up"]

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def up(
    port: Annotated[
        int,
        typer.Option("--port", "-p", metavar="PORT", envvar="HUD_PLATFORM_PORT", help="0 takes a free one.", min=0),
    ] = 8800,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", envvar="HUD_PLATFORM_HOST", help="The address to bind.")
    ] = "127.0.0.1",
    data: DataOption = DEFAULT_DATA,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; it goes on.")] = False,
    no_settings: Annotated[
        bool, typer.Option("--no-settings", help="Leave ~/.hud/.env as it is, which otherwise points to this platform.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", envvar="HUD_PLATFORM_URL", help="The address that clients use, of a proxy in front."
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar="HUD_PLATFORM_DATABASE_URL",
            help="postgresql://… in place of SQLite in the data folder.",
        ),
    ] = None,
    blobs: Annotated[
        str | None,
        typer.Option(
            "--blobs", metavar="URL", envvar="HUD_PLATFORM_BLOBS_URL", help="s3://bucket/prefix in place of files."
        ),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            "--registry",
            metavar="HOST/PREFIX",
            envvar="HUD_PLATFORM_REGISTRY",
            help="An OCI registry to push images to.",
        ),
    ] = None,
    builds: Annotated[
        int,
        typer.Option(
            "--builds", metavar="NUMBER", envvar="HUD_PLATFORM_BUILDS", help="Builds at once; others wait.", min=1
        ),
    ] = 2,
    build_timeout: Annotated[
        float,
        typer.Option(
            "--build-timeout", metavar="SECONDS", envvar="HUD_PLATFORM_BUILD_TIMEOUT_S", help="Longest build.", min=1
        ),
    ] = 3600.0,
    build_memory: Annotated[
        int | None,
        typer.Option(
            "--build-memory",
            metavar="MB",
            envvar="HUD_PLATFORM_BUILD_MEMORY_MB",
            help="Memory of a build's steps (default: the engine's own limit).",
            min=16,
        ),
    ] = None,
    upload_limit: Annotated[
        int,
        typer.Option(
            "--upload-limit", metavar="MB", envvar="HUD_PLATFORM_UPLOAD_LIMIT_MB", help="Largest context.", min=1
        ),
    ] = 20 * 1024,
    log_limit: Annotated[
        int,
        typer.Option(
            "--log-limit", metavar="MB", envvar="HUD_PLATFORM_LOG_LIMIT_MB", help="Kept of a build's log.", min=1
        ),
    ] = 64,
    free_disk: Annotated[
        int,
        typer.Option(
            "--free-disk", metavar="MB", envvar="HUD_PLATFORM_FREE_DISK_MB", help="Disk that builds leave free.", min=0
        ),
    ] = 1024,
    json: JsonOption = False,
) -> int:
    """Start a platform; the first start makes an admin key.

    In the foreground until Ctrl-C, or apart with --detach. Its address and key go into ~/.hud/.env, so that
    `hud deploy` works at once. With --json one line says when it is ready: url, key, data, pid.
    """
    require_extra()
    from hud_platform.config import PlatformConfig

    config = PlatformConfig(
        data=Path(data).expanduser().absolute(),
        host=host,
        port=port,
        url=_checked(url),
        database_url=database,
        blobs_url=blobs,
        registry=registry,
        builds_at_once=builds,
        build_timeout_s=build_timeout,
        build_memory_mb=build_memory,
        upload_limit_bytes=upload_limit * 2**20,
        log_limit_bytes=log_limit * 2**20,
        free_disk_mb=free_disk,
    )
    if host not in _LOOPBACK:
        output.note(
            f"{output.painted('Warning:', 'yellow')} {host} can be reached from other machines, and keys travel to it "
            "in clear; put a proxy with TLS in front (--url names it)."
        )
    if detach:
        from hud_cli.platform.detached import start

        info, key = start(config)
        _tell(config, info, key, as_json=json, settings=not no_settings, detached=True)
        return 0
    from hud_platform import server

    output.keep_stdout()
    server.serve(config, lambda info, key: _tell(config, info, key, as_json=json, settings=not no_settings))
    return 0


def _tell(
    config: PlatformConfig,
    info: ServerInfo,
    key: str | None,
    *,
    as_json: bool,
    settings: bool,
    detached: bool = False,
) -> None:
    """Say that a platform is ready, and write the client's settings."""
    from hud_cli.platform import client_settings

    moved = None
    if settings and key is not None:
        moved = client_settings.point_to(info.url, key)
    if as_json:
        import json

        output.data(json.dumps({"url": info.url, "key": key, "data": info.data, "pid": info.pid}) + "\n")
        return
    bold = "bold"
    output.note(f"{output.painted('The platform is ready', bold)} at {output.painted(info.url, bold)}\n")
    output.note(f"    key    {key or 'none in the data folder; hud platform key create NAME makes one'}")
    output.note(f"    data   {info.data}")
    output.note(f"    docs   {info.url}/docs")
    if moved is not None:
        output.note(f"\nYour settings of another platform are kept in {moved}; to go back:")
        output.note(f"    mv {moved} {moved.parent / '.env'}")
    if settings and key is not None:
        output.note("\n~/.hud/.env points to it. Next:\n\n    hud init my-env\n    cd my-env\n    hud deploy")
    elif key is not None:
        output.note(f"\nTo use it:\n\n    hud set HUD_API_URL={info.url} HUD_API_KEY={key}")
    is_default = Path(info.data) == Path(DEFAULT_DATA).expanduser()
    down = "hud platform down" if is_default else f"hud platform down --data {shlex.quote(info.data)}"
    output.note(f"\n{down} stops it." if detached else "\nCtrl-C stops it.")


def _checked(url: str | None) -> str | None:
    if url is None:
        return None
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is no address of a platform", hint="--url https://hud.example.org")
    return url.rstrip("/")
