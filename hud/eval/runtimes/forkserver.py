"""The warm parent behind `LocalRuntime("env.py")`: it imports the environment once and forks a child a rollout.

`python -m hud.eval.runtimes.forkserver PATH FD` speaks over the Unix socket FD: first one line that says what was
loaded (or why not), then for each rollout a line `{"serve": name, "number": …}` with the child's lifeline attached as
a descriptor. The child answers on its lifeline, `{"port": …}` or `{"error": …}`, and ends when the lifeline does; the
line `{"kill": number}` is for one that does not. When the warm parent's own socket ends, it sees its children out and
ends too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from hud.environment.channel import ControlServer
from hud.environment.ending import end_process
from hud.environment.environment import Environment
from hud.environment.source import Declared, declared_in, pick, source_files, source_folder
from hud.errors import HudError
from hud.eval.runtimes.lifeline import STOP_LIMIT_S, kill_group

__all__ = ["main"]

_REQUESTS_BYTES = 1 << 16


def main(path: str, control_fd: int) -> None:
    """Load the source at `path` and serve fork requests until the socket ends."""
    control = socket.socket(fileno=control_fd)
    sys.dont_write_bytecode = True  # an edit within one second could otherwise meet stale byte code
    sys.path.insert(0, source_folder(path))
    os.dup2(2, 1)  # what the environment prints is for people
    began_ns = time.time_ns()
    try:
        declared = declared_in(path)
        for one in declared:
            one.environment.check()
    except HudError as error:
        _send(control, _failure(error))
        return
    threads = threading.active_count()
    _send(control, {"files": source_files(path), "threads": threads, "began_ns": began_ns})
    if threads > 1:
        return
    # What is alive now never becomes garbage: keep the collector from touching, and so copying, shared pages.
    gc.collect()
    gc.freeze()
    _Forker(path, declared, control).run()


class _Spare(NamedTuple):
    """A child that waits for its rollout: its process id, and the socket by which it is told."""

    pid: int
    line: socket.socket


class _Forker:
    """Hands each request to a child that waits for it: a fork costs more than the exchange it is for."""

    def __init__(self, path: str, declared: list[Declared], control: socket.socket) -> None:
        self._path = path
        self._declared = declared
        self._control = control
        self._children: dict[int, int] = {}
        self._spare: _Spare | None = None
        # A child's end is noticed at once, so that nothing it left behind keeps its connection open.
        self._ending, ending = socket.socketpair()
        self._ending.setblocking(False)
        ending.setblocking(False)
        self._signalled = ending
        signal.set_wakeup_fd(ending.fileno(), warn_on_full_buffer=False)
        self._authors_handler = signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        self._prepare()
        while True:
            ready, _, _ = select.select((self._control, self._ending), (), ())
            if self._control in ready:
                requests, lifeline = _receive(self._control)
                if not requests:
                    break
                for request in requests.splitlines():
                    self._answer(json.loads(request), lifeline)
            if self._ending in ready:
                self._ending.recv(4096)
                _take_leave(self._children)
        if self._spare is not None:
            self._spare.line.close()
            self._children[self._spare.pid] = -1
        _see_out(self._children)

    def _answer(self, request: dict[str, Any], lifeline: socket.socket | None) -> None:
        if "kill" in request:
            for pid, number in self._children.items():
                if number == request["kill"]:
                    kill_group(pid)
        elif lifeline is not None:  # a descriptor comes with the last of several requests at most
            with lifeline:
                self._place(request, lifeline)
            self._prepare()

    def _place(self, request: dict[str, Any], lifeline: socket.socket) -> None:
        """Give a rollout to the waiting child, or to a new one when somebody killed that."""
        for _ in range(2):
            try:
                spare = self._spare or self._fork()
            except OSError as error:
                _send(lifeline, {"error": f"no process can be started: {error.strerror}", "hint": "ulimit -u"})
                return
            self._spare = None
            self._children[spare.pid] = request["number"]
            with spare.line:
                try:
                    socket.send_fds(spare.line, [request["serve"].encode()], [lifeline.fileno()])
                    return
                except OSError:
                    pass

    def _prepare(self) -> None:
        try:
            self._spare = self._fork()
        except OSError:
            pass  # the next request says why, when it is so still

    def _fork(self) -> _Spare:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, self._authors_handler or signal.SIG_DFL)
            for line in (self._control, self._ending, self._signalled, ours):
                line.close()
            _child(theirs, lambda name: pick(self._declared, name, self._path))
        theirs.close()
        return _Spare(pid, ours)


def _child(line: socket.socket, choose: Callable[[str], Environment]) -> None:
    """Serve one rollout in a process group of its own, then end without the parent's exit handlers."""
    lifeline: socket.socket | None = None
    code = 1
    try:
        os.setsid()
        if (numpy := sys.modules.get("numpy")) is not None:  # the standard library reseeds itself after a fork
            numpy.random.seed()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        name, lifeline = _receive(line)
        if lifeline is not None:
            loop.run_until_complete(_serve(choose(name.decode()), lifeline))
        code = 0
    except HudError as error:
        _send(lifeline, _failure(error))
    except BaseException as error:  # noqa: BLE001  a hook of the author may raise anything
        _send(lifeline, {"error": f"{type(error).__name__}: {error}", "hint": None})
    finally:
        end_process(code, forked=True)


async def _serve(environment: Environment, lifeline: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def ended() -> None:
        loop.remove_reader(lifeline)
        if not over.done():
            over.set_result(None)

    loop.add_reader(lifeline, ended)
    starting = asyncio.ensure_future(environment.start())
    await asyncio.wait({starting, over}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return
    starting.result()
    server = ControlServer(environment)
    try:
        port = await server.listen("127.0.0.1", 0)
        _send(lifeline, {"port": port, "pid": os.getpid(), "hooks": environment.has_hooks})
        await over
    finally:
        await server.close()
        await environment.stop()


def _receive(line: socket.socket) -> tuple[bytes, socket.socket | None]:
    """Wait for what the other side has sent, and the lifeline that comes with it; nothing when it is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(line, _REQUESTS_BYTES, 1)
    except ConnectionResetError:
        return b"", None
    if not descriptors:
        return data, None
    os.set_inheritable(descriptors[0], False)  # what the author starts is not to hold it
    return data, socket.socket(fileno=descriptors[0])


def _send(line: socket.socket | None, message: dict[str, Any]) -> None:
    if line is None:
        return
    try:
        line.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass  # nobody listens any more


def _failure(error: HudError) -> dict[str, Any]:
    return {"error": error.message, "hint": error.hint}


def _take_leave(children: dict[int, int]) -> None:
    """Take leave of the children that have ended, and kill what they started and left behind."""
    for pid in list(children):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            kill_group(pid)  # while it is not reaped its group's id cannot be another's
            os.waitpid(pid, 0)
            del children[pid]


def _see_out(children: dict[int, int]) -> None:
    """Wait for the children, whose lifelines have ended with ours, and kill those that do not come to an end."""
    deadline = time.monotonic() + STOP_LIMIT_S
    while children and time.monotonic() < deadline:
        _take_leave(children)
        time.sleep(0.005)
    for pid in children:
        kill_group(pid)
        os.kill(pid, signal.SIGKILL)  # it may not have come to lead a group yet
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
    end_process(0, group=lambda: True)  # whoever may have asked for it may be gone
