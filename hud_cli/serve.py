"""`hud serve`: an environment on a control channel until a signal ends it."""

from __future__ import annotations

import os
import sys

from hud.environment.source import load_environment, source_folder, split_target
from hud.errors import HudError, UsageError
from hud.wire import TOKEN_VARIABLE
from hud_cli import output
from hud_cli.port import default_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hud.environment.environment import Environment

__all__ = ["serve"]

_LOOPBACK = ("127.", "localhost", "::1")


def serve(
    *,
    target: str,
    port: int | None,
    host: str,
    arg: list[str],
    watch: bool,
    token: str | None,
    parked_ttl: float,
    verbose: bool,
    json: bool,
) -> int:
    """Serve `target` until SIGINT (0) or SIGTERM (143)."""
    from hud.environment import server

    port = default_port() if port is None else port
    if not 0 <= port < 65536:
        raise UsageError(f"--port is between 0 and 65535, got {port}")
    if not 0 < parked_ttl < float("inf"):
        raise UsageError(f"--parked-ttl is a positive number of seconds, got {parked_ttl:g}")
    path, name = split_target(target)
    args = _key_values(arg)
    inherited = os.environ.pop(TOKEN_VARIABLE, None)  # taken out: what a template starts for an agent has no token
    token = token or inherited or None
    folder = _folder(path)
    if watch:
        _require_watchfiles()
    if verbose:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if folder is not None:
        sys.path.insert(0, folder)  # what a template imports only when it runs
    output.keep_stdout()

    def ready(environment: Environment, bound_host: str, bound_port: int) -> None:
        if output.has_stdout():
            output.data(f"{server.READY_PREFIX}{bound_port}\n")
        tasks, capabilities = len(environment.templates), len(environment.capabilities)
        shown_host = f"[{bound_host}]" if ":" in bound_host else bound_host
        output.note(
            f"Serving {environment.name} on tcp://{shown_host}:{bound_port} "
            f"({_count(tasks, 'task')}, {_count(capabilities, 'capability')})"
        )
        if verbose and token is None and not bound_host.startswith(_LOOPBACK):
            output.note("Whoever reaches this address can start and grade tasks: --token asks them for a token.")

    code = server.serve(
        lambda: load_environment(path, name=name, args=args),
        host=host,
        port=port,
        token=token,
        parked_ttl_s=parked_ttl,
        watch_paths=[folder or os.getcwd()] if watch else (),
        on_ready=ready,
    )
    output.note("Stopped.")
    return code


def _folder(path: str) -> str | None:
    """Give the folder of a source path, or None for a module."""
    for candidate in (path, path + ".py"):
        if os.path.exists(candidate):
            return source_folder(candidate)
    return None


def _key_values(items: list[str]) -> dict[str, str]:
    values = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--arg expects key=value, got {item!r}")
        values[key] = value
    return values


def _require_watchfiles() -> None:
    from importlib.util import find_spec

    if find_spec("watchfiles") is None:
        raise HudError("--watch needs the package watchfiles", hint="pip install watchfiles")


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
