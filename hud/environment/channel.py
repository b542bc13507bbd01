"""A control channel: a listening port, its sessions, and the tasks that wait between them."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from hud.environment.environment import Environment
from hud.environment.runner import Runner
from hud.environment.served import Served
from hud.environment.session import Session
from hud.errors import HudError
from hud.wire import NOTHING_TO_GRADE

__all__ = ["PARKED_TTL_S", "STOP_LIMIT_S", "ControlServer"]

PARKED_TTL_S = 24 * 3600.0
"""How long a started task waits for somebody to come back and grade it."""

STOP_LIMIT_S = 9.0
"""In what time a channel and its environment are stopped, whatever the author's code does."""

_BACKLOG = 1024
_READ_BYTES = 1 << 18
_SHOWN_IDS = 20

_log = logging.getLogger("hud.environment")


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
        read_buffer: Where sessions receive, one after another. Left to itself asyncio asks for a buffer of this size
            for each message, and until a first connection has ended glibc gives every one of them back to the
            system, which costs more than the message.
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
        self.read_buffer = memoryview(bytearray(_READ_BYTES))
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
        deadline = loop.time() + STOP_LIMIT_S * 2 / 3  # the rest is for the shutdown hooks
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
