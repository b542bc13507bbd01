"""A platform's process: it takes the folder and a port, says when it is ready, and stops in order."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import logging.handlers
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from sqlalchemy.exc import SQLAlchemyError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hud.errors import HudError, UnreachableError
from hud.version import __version__
from hud_platform import server_info
from hud_platform.access import first_start
from hud_platform.backend import Backend, open_backend
from hud_platform.builds.build_workflow import running_builds
from hud_platform.heap import keep_freed
from hud_platform.server_info import ServerInfo
from hud_platform.storage.data_folder import lock, open_folder, refuse_half_restored
from hud_platform.storage.places import completed, remember
from hud_platform.web.app import create_app
from hud_platform.web.replies import error_body
from hud_platform.web.traffic import Traffic

if TYPE_CHECKING:
    from hud_platform.config import PlatformConfig

__all__ = ["serve"]

_GRACE_S = 10  # what a request that is being answered gets at the end
_BACKLOG = 2048
_OPEN_FILES = 65_536
_USES_WRITTEN_EVERY_S = 10.0
_LOG_BYTES = 16 * 2**20
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_log = logging.getLogger("hud_platform")


def serve(config: PlatformConfig, ready: Callable[[ServerInfo, str | None], None]) -> None:
    """Run a platform until SIGINT or SIGTERM.

    Args:
        ready: Called once it answers, with the key that its first start made, while that is still good.

    Raises:
        HudError: the folder, the port or the database cannot be had; the message says which.
    """
    folder = open_folder(config.data)
    with lock(folder):
        refuse_half_restored(folder)
        log_to(folder.log)
        _allow_connections()
        keep_freed()
        with _bound(config) as listener:
            config = replace(completed(config, folder), data=folder.root, port=listener.getsockname()[1])
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(_serve(config, listener, ready))


def log_to(path: Path) -> None:
    """Send what the server says to a file of bounded size; warnings go to stderr too, where that is another file."""
    root = logging.getLogger()
    file = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    os.chmod(path, 0o600)
    file.setFormatter(logging.Formatter(_LOG_FORMAT))
    root.addHandler(file)
    if not _is_stderr(path):
        console = logging.StreamHandler()
        console.setLevel(logging.WARNING)
        console.setFormatter(logging.Formatter(_LOG_FORMAT))
        root.addHandler(console)
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _allow_connections() -> None:
    """Take as many open files as this process may: the usual first limit is less than a thousand connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_stderr(path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(2), path.stat())
    except OSError:
        return False


async def _serve(
    config: PlatformConfig, listener: socket.socket, ready: Callable[[ServerInfo, str | None], None]
) -> None:
    async with open_backend(config) as backend, _regularly(backend.keys.write_uses), running_builds(backend):
        remember(backend.data, config)
        key = await first_start.admin_key(backend)
        running = ServerInfo(url=config.public_url, pid=os.getpid(), data=str(backend.data.root), version=__version__)

        def on_ready() -> None:
            server_info.write(backend.data, running)
            _log.info("ready at %s", running.url)
            ready(running, key)

        try:
            await _Server(backend, on_ready).serve(sockets=[listener])
        finally:
            backend.data.server.unlink(missing_ok=True)


@asynccontextmanager
async def _regularly(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do `work` every some seconds, and once more at the end."""

    async def loop() -> None:
        while True:
            await asyncio.sleep(_USES_WRITTEN_EVERY_S)
            await attempt()

    async def attempt() -> None:
        try:
            await work()
        except (SQLAlchemyError, HudError) as error:  # a full disk must not end the server
            _log.warning("cannot write down when keys were used: %s", error)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await attempt()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ModuleNotFoundError:  # not on every system
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Server(uvicorn.Server):
    """Uvicorn's, which says when it is ready and ends without raising the signal that it was sent."""

    def __init__(self, backend: Backend, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                Traffic(create_app(backend), backend.metrics),
                http=_Protocol,
                ws="websockets-sansio",
                ws_per_message_deflate=False,  # log lines are small, and compressing them costs more than sending
                ws_ping_interval=20.0,
                ws_ping_timeout=20.0,
                lifespan="off",
                log_config=None,
                access_log=False,  # it would log queries, and with them keys (PA-14)
                server_header=False,
                proxy_headers=backend.config.url is not None,  # whoever is in front says who asks
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_GRACE_S,
                timeout_keep_alive=75,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()
        # What is loaded now stays: the collector need not walk through it again and again.
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _log.info("stopping")
        await super().shutdown(sockets=sockets)
        self._captured_signals.clear()  # the stop was in order; raising them again would end the command with 143


class _Protocol(HttpToolsProtocol):
    """Answers what is not HTTP with JSON too (PA-04)."""

    def send_400_response(self, msg: str) -> None:
        body = json.dumps(error_body(msg.rstrip("."), "usage")).encode()
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()


def _bound(config: PlatformConfig) -> socket.socket:
    """Bind the address.

    Raises:
        UnreachableError: it is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UnreachableError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror or error}",
            hint="--port 0 takes a free one",
        ) from error
    except OverflowError as error:
        listener.close()
        raise UnreachableError(f"{config.port} is no port", hint="--port 0 takes a free one") from error
    return listener
