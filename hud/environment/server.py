"""A process that serves an environment: from loading the source to the last hook after a signal.

`python -m hud.environment.server PATH [--env NAME] [--host 127.0.0.1] [--port 0]` is what runtimes start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from hud.environment.channel import PARKED_TTL_S, STOP_LIMIT_S, ControlServer
from hud.environment.ending import end_group, end_process
from hud.environment.environment import Environment
from hud.errors import HudError, UsageError
from hud.wire import DEFAULT_PORT

__all__ = ["READY_PREFIX", "main", "serve"]

READY_PREFIX = "HUD_SERVE_PORT="
"""The readiness line on stdout: this and the real port (CC-48)."""

_log = logging.getLogger("hud.environment")


class _Terminated(BaseException):
    """SIGTERM, before the event loop listens to signals."""


def serve(
    load: Callable[[], Environment],
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    token: str | None = None,
    parked_ttl_s: float = PARKED_TTL_S,
    watch_paths: Sequence[str] = (),
    on_ready: Callable[[Environment, str, int], None],
) -> int:
    """Load an environment and serve it until a signal; blocks.

    Args:
        load: Imports the source; called again after a change when `watch_paths` are given.
        port: 0 takes a free one.
        token: Every connection has to show it, when given.
        on_ready: Called with the environment, the host and the real port once connections are accepted.

    Returns:
        The exit code: 0 after SIGINT, 143 after SIGTERM. Hooks and `finally` blocks have run by then, or ten seconds
        have passed.

    Raises:
        HudError: the source does not load, an initialize hook failed, or the address cannot be bound.
    """
    if not 0 <= port < 65536:
        raise UsageError(f"a port is between 0 and 65535, got {port}")
    if watch_paths:
        _require_watchfiles()
        sys.dont_write_bytecode = True  # an edit within one second could otherwise meet stale byte code
    # Until the event loop listens to signals, a plain SIGTERM would skip the author's cleanup (and PID 1 ignores it).
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if in_main_thread else None
    try:
        environment = load()
        server = ControlServer(environment, token=token, parked_ttl_s=parked_ttl_s)
        return asyncio.run(_serve(server, load, host, port, watch_paths, on_ready))
    except _Terminated:
        return 143
    finally:
        if before is not None and signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, before)


async def _serve(
    server: ControlServer,
    load: Callable[[], Environment],
    host: str,
    port: int,
    watch_paths: Sequence[str],
    on_ready: Callable[[Environment, str, int], None],
) -> int:
    environment = server.served.environment
    stopped = _stop_signals()
    starting = asyncio.ensure_future(environment.start())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        starting.cancel()
        await asyncio.wait({starting})
        await environment.stop()  # the hook may have swallowed its cancellation
        if not starting.cancelled():
            starting.exception()
        return stopped.result()
    await starting
    watching: asyncio.Task[None] | None = None
    try:
        on_ready(environment, host, await server.listen(host, port))
        if watch_paths:
            watching = asyncio.ensure_future(_watch(server, load, watch_paths))
        return await stopped
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
        await server.close()
        await server.served.environment.stop()


def _terminate(*_: object) -> None:
    raise _Terminated


def _stop_signals() -> asyncio.Future[int]:
    """Give a future that SIGINT resolves to 0 and SIGTERM to 143.

    From the first signal on a thread sees to it that the process ends within ten seconds, even when a template
    blocks the loop; a second signal ends it at once.
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()
    if threading.current_thread() is not threading.main_thread():
        return stopped

    def stop(code: int) -> None:
        if stopped.done():
            os._exit(code)
        stopped.set_result(code)

    def deadline(code: int) -> Callable[..., None]:
        def handler(*_: object) -> None:
            timer = threading.Timer(STOP_LIMIT_S, os._exit, (code,))
            timer.daemon = True
            timer.start()
            try:
                loop.call_soon_threadsafe(stop, code)
            except RuntimeError:  # the loop is closed: everything has run
                os._exit(code)

        return handler

    for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 143)):
        signal.signal(number, deadline(code))
    return stopped


def _require_watchfiles() -> None:
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise UsageError("watching needs the package watchfiles", hint="pip install watchfiles") from None


async def _watch(server: ControlServer, load: Callable[[], Environment], paths: Sequence[str]) -> None:
    from watchfiles import PythonFilter, awatch

    try:
        async for changes in awatch(*paths, watch_filter=PythonFilter()):
            names = ", ".join(sorted({os.path.basename(path) for _, path in changes}))
            try:
                await server.replace(load())
            except Exception as error:  # noqa: BLE001  the author is in the middle of an edit: the last good load stays
                _log.error("%s changed, but does not load; the last version is served on: %s", names, error)
            else:
                _log.warning("%s changed: new sessions get the new version", names)
    except OSError as error:  # the kernel's limit on watches
        _log.error("changes are no longer watched: %s", error)


_orphaned = threading.Event()
"""Set when the lifeline, standard input, has ended: nobody is left who would end what the author's code leaves."""


def _stop_with_parent() -> None:
    """Take the end of standard input for the parent's SIGTERM: it comes even when the parent was killed."""
    while os.read(0, 4096):
        pass
    _orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_LIMIT_S - 0.5)  # before the signal's own limit ends this process alone
    end_group()
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a source for a parent process that reads the readiness line from stdout."""
    import argparse

    from hud.environment.source import load_environment, source_folder
    from hud.wire import TOKEN_VARIABLE

    parser = argparse.ArgumentParser(prog="python -m hud.environment.server")
    parser.add_argument("path")
    parser.add_argument("--env", default=None)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(argv)
    if options.lifeline:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    sys.path.insert(0, source_folder(options.path))

    # What the environment and its children print goes to stderr: stdout is for the line that a parent waits for.
    stdout = os.dup(1)
    os.dup2(2, 1)
    line_end = "\n" if os.path.sameopenfile(2, stdout) else ""  # the line has to begin at column 0

    def ready(_environment: Environment, _host: str, port: int) -> None:
        sys.stdout.flush()
        os.write(stdout, f"{line_end}{READY_PREFIX}{port}\n".encode())

    try:
        return serve(
            lambda: load_environment(options.path, name=options.env),
            host=options.host,
            port=options.port,
            token=os.environ.pop(TOKEN_VARIABLE, None) or None,  # what a template starts does not inherit it
            on_ready=ready,
        )
    except KeyboardInterrupt:  # before the event loop listens to signals
        return 130
    except HudError as error:
        sys.stderr.write(f"Error: {error.message}\n" + (f"Hint: {error.hint}\n" if error.hint else ""))
        return error.exit_code


if __name__ == "__main__":
    end_process(main(), group=_orphaned.is_set)
