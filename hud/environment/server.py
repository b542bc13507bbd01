"""The served side of the control channel: a listening port, its sessions, and the tasks that wait between them.

`python -m hud.environment.server PATH [--env NAME] [--host 127.0.0.1] [--port 0]` is what runtimes start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from hud.environment.ending import end_group, end_process
from hud.environment.environment import Environment
from hud.environment.runner import Runner
from hud.environment.session import Session
from hud.errors import HudError, UsageError
from hud.wire import DEFAULT_PORT, INVALID_PARAMS, NOTHING_TO_GRADE, TASK_ERROR, encode

__all__ = ["PARKED_TTL_S", "READY_PREFIX", "ControlServer", "main", "serve"]

PARKED_TTL_S = 24 * 3600.0
"""How long a started task waits for somebody to come back and grade it."""

READY_PREFIX = "HUD_SERVE_PORT="
"""The readiness line on stdout: this and the real port (CC-48)."""

_STOP_LIMIT_S = 9.0
_BACKLOG = 1024
_SHOWN_IDS = 20

_log = logging.getLogger("hud.environment")


class Served:
    """One load of an environment, and the replies that depend on nothing else.

    Attributes:
        users: Sessions and parked tasks that stand on it; when a newer load has taken its place and the last user
            is gone, it is stopped.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.users = 0
        self.on_unused: Callable[[], None] | None = None
        self._revision = -1
        self._identity = ""
        self._tasks: str | None = None

    def leave(self) -> None:
        """Give up one use."""
        self.users -= 1
        if self.users == 0 and self.on_unused is not None:
            self.on_unused()

    def identity_json(self) -> str:
        """Give the part of the `hello` result that is the same for all sessions: `env` and `bindings`."""
        self._refresh()
        return self._identity

    def tasks_json(self) -> str:
        """Give the `tasks.list` result."""
        self._refresh()
        if self._tasks is None:
            rows = [template.row() for template in self.environment.templates.values()]
            self._tasks = encode({"tasks": rows})
        return self._tasks

    def _refresh(self) -> None:
        environment = self.environment
        if self._revision == environment.revision:
            return
        self._revision = environment.revision
        self._tasks = None
        env = {"name": environment.name, "version": environment.version}
        bindings = [capability.to_manifest() for capability in environment.capabilities]
        self._identity = encode({"env": env, "bindings": bindings})[1:-1]

    def refuse_lists(self, params: dict[str, Any]) -> tuple[int, str] | None:
        """Check the lists that only sandboxed workspaces can honour; give code and message of a refusal.

        Source: protocol specification, section 4.1. They are checked before a session is resumed, so a refused
        hello changes nothing.
        """
        for key, reason in (
            ("workspace_routes", "requires an isolated network"),
            ("connections", "does not support process-bound connections"),
        ):
            rows = params.get(key, [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                return INVALID_PARAMS, f"hello: '{key}' must be a list of objects"
            for row in rows:
                name = row.get("capability")
                if not isinstance(name, str):
                    return INVALID_PARAMS, f"hello: each of '{key}' needs a 'capability'"
                known = any(capability.name == name for capability in self.environment.capabilities)
                return TASK_ERROR, f"workspace capability '{name}' " + (reason if known else "does not exist")
        return None


class Parked:
    """A started task whose session has no connection.

    Attributes:
        deadline: When it expires, on the event loop's clock.
    """

    __slots__ = ("deadline", "runner", "served")

    def __init__(self, runner: Runner, served: Served, deadline: float) -> None:
        self.runner = runner
        self.served = served
        self.deadline = deadline


class ControlServer:
    """A control channel on one port.

    Attributes:
        token: What the first frame of every connection has to carry, or None when anyone may connect.
        parked_ttl_s: How long a parked task is kept, in seconds.
        strays: Connections that are no sessions (any more): tunnels, and those that were refused.
    """

    def __init__(
        self, environment: Environment, *, token: str | None = None, parked_ttl_s: float = PARKED_TTL_S
    ) -> None:
        self.served = Served(environment)
        self.token = token
        self.parked_ttl_s = parked_ttl_s
        self.sessions: set[Session] = set()
        self.live: dict[str, Session] = {}
        self.parked: dict[str, Parked] = {}
        self.strays: set[asyncio.Transport] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._replaced: set[Served] = set()
        self._listener: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> int:
        """Bind and accept; 0 takes a free port.

        Returns:
            The port that was bound.

        Raises:
            HudError: the address is taken or is none of this machine.
        """
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(lambda: Session(self), host, port, backlog=_BACKLOG)
        except (OSError, UnicodeError) as error:  # a name that cannot be a host's is a UnicodeError
            raise _bind_error(error, host, port) from error
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop accepting, stop running calls, close every waiting task, and drop the connections."""
        if self._listener is not None:
            self._listener.close()
        if self._sweep is not None:
            self._sweep.cancel()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _STOP_LIMIT_S * 2 / 3  # the rest is for the shutdown hooks
        await asyncio.sleep(0)  # a call that has just come in begins first: it has a task to close
        calls = {session.call.task for session in self.sessions if session.call is not None}
        for call in calls:
            call.cancel()
        self._close_waiting()
        while (work := {task for task in calls | self._tasks if not task.done()}) and loop.time() < deadline:
            await asyncio.wait(work, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            self._close_waiting()  # a start that could not be cancelled may have parked its task
        for served in list(self._replaced):
            await self._retire(served)
        transports = [session.transport for session in self.sessions] + list(self.strays)
        for transport in transports:
            transport.close()
        if transports:
            await asyncio.sleep(0)
        for transport in transports:
            transport.abort()  # a peer that does not read its reply cannot hold us up

    def _close_waiting(self) -> None:
        waiting = [parked.runner for parked in self.parked.values()]
        self.parked.clear()
        for session in self.sessions:
            if session.runner is not None:
                waiting.append(session.runner)
                session.runner = None
        for runner in waiting:
            self.keep(asyncio.get_running_loop().create_task(runner.close()))

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a background task until it is done; the event loop itself holds it weakly."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Sessions by id

    def name(self, session: Session, session_id: str) -> None:
        """Give a session its id, in place of the one it had."""
        if session.id is not None:
            self.live.pop(session.id, None)
        session.id = session_id
        self.live[session_id] = session

    def forget(self, session: Session) -> None:
        """Drop a session that has no connection any more."""
        self.sessions.discard(session)
        if session.id is not None:
            self.live.pop(session.id, None)

    def park(self, session_id: str, runner: Runner, served: Served) -> None:
        """Keep a started task without a connection, until it is resumed, adopted or expires."""
        served.users += 1
        loop = asyncio.get_running_loop()
        self.parked[session_id] = Parked(runner, served, loop.time() + self.parked_ttl_s)
        if self._sweep is None:
            self._sweep = loop.call_later(self.parked_ttl_s, self._expire)

    def unpark(self, session_id: str) -> Parked | None:
        """Take a parked task by its session id; its use of the environment passes to the caller."""
        return self.parked.pop(session_id, None)

    def adopt(self, params: dict[str, Any]) -> Parked | str:
        """Take the parked task that a `tasks.grade` means, or say why there is none.

        A plain grade takes the single parked task (CC-31 to CC-33). One that names a task by `id`, which is ours,
        takes the single parked run of that task, so nobody grades another's; `slug` and `args` say which.
        """
        candidates = [key for key, parked in self.parked.items() if _is_meant(parked.runner, params)]
        if not candidates:
            return NOTHING_TO_GRADE
        if len(candidates) > 1:
            shown = ", ".join(sorted(candidates)[:_SHOWN_IDS]) + (", …" if len(candidates) > _SHOWN_IDS else "")
            return f"{len(candidates)} parked sessions ({shown}); resume one by sending hello with its session_id"
        return self.parked.pop(candidates[0])

    def _expire(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session_id, parked in list(self.parked.items()):  # oldest first
            if parked.deadline > now:
                self._sweep = loop.call_at(parked.deadline, self._expire)
                return
            del self.parked[session_id]
            _log.warning("task %r of session %s expired: nobody graded it", parked.runner.template.id, session_id)
            self.keep(loop.create_task(self._drop(parked)))

    async def _drop(self, parked: Parked) -> None:
        await parked.runner.close()
        parked.served.leave()

    # Reloading

    async def replace(self, environment: Environment) -> None:
        """Serve another load to new connections; sessions and parked tasks keep the one they began with."""
        await environment.start()
        old, self.served = self.served, Served(environment)
        self._replaced.add(old)
        old.on_unused = lambda: self.keep(asyncio.get_running_loop().create_task(self._retire(old)))
        if not old.users:
            old.on_unused()

    async def _retire(self, served: Served) -> None:
        """Stop an environment that was replaced, once."""
        if served in self._replaced:
            self._replaced.discard(served)
            await served.environment.stop()


class _Terminated(BaseException):
    """SIGTERM, before the event loop listens to signals."""


def _is_meant(runner: Runner, params: dict[str, Any]) -> bool:
    """Whether a grade's `id`, `slug` and `args` fit a parked run: by its row where both sides know it, else by args."""
    task_id, slug, arguments = params.get("id"), params.get("slug"), params.get("args")
    if not isinstance(task_id, str):
        return True
    if runner.template.id != task_id:
        return False
    if isinstance(slug, str) and runner.slug is not None:
        return runner.slug == slug
    return not isinstance(arguments, dict) or runner.arguments == arguments


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
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        environment = load()
        server = ControlServer(environment, token=token, parked_ttl_s=parked_ttl_s)
        return asyncio.run(_serve(server, load, host, port, watch_paths, on_ready))
    except _Terminated:
        return 143


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
            timer = threading.Timer(_STOP_LIMIT_S, os._exit, (code,))
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
    time.sleep(_STOP_LIMIT_S + 1)
    end_group()  # whatever keeps it from stopping
    os.kill(os.getpid(), signal.SIGKILL)


def _bind_error(error: OSError | UnicodeError, host: str, port: int) -> HudError:
    import errno

    # From Python 3.13 on asyncio passes over addresses of other machines, and then has no error number to tell of.
    if isinstance(error, UnicodeError | socket.gaierror) or error.errno in (errno.EADDRNOTAVAIL, None):
        return HudError(
            f"{host} is no address of this machine", hint="127.0.0.1 for this machine alone, 0.0.0.0 for all"
        )
    if error.errno == errno.EADDRINUSE:
        return HudError(
            f"port {port} on {host} is in use",
            hint="stop what listens there, or serve on another: --port 0 takes a free one",
        )
    if error.errno == errno.EACCES:
        return HudError(f"port {port} on {host} is not allowed to this user", hint="take a port above 1023")
    return HudError(f"port {port} on {host} cannot be bound: {error.strerror or error}")


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
            token=os.environ.get(TOKEN_VARIABLE) or None,
            on_ready=ready,
        )
    except KeyboardInterrupt:  # before the event loop listens to signals
        return 130
    except HudError as error:
        sys.stderr.write(f"Error: {error.message}\n" + (f"Hint: {error.hint}\n" if error.hint else ""))
        return error.exit_code


if __name__ == "__main__":
    end_process(main(), group=_orphaned.is_set)
