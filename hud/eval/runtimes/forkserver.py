"""The warm parent behind `LocalRuntime("env.py")`: it imports the environment once and forks a child a rollout.

`python -m hud.eval.runtimes.forkserver PATH FD` speaks over the Unix socket FD: first one line that says what was
loaded (or why not), then for each request a line `{"env": name}` with the child's lifeline attached as a descriptor.
The child answers on its lifeline, `{"port": …, "pid": …}` or `{"error": …}`, and ends when the lifeline does.
When the warm parent's own socket ends, it sees its children out and ends too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
import threading
import time
from typing import Any, NamedTuple

from hud.environment.ending import end_process
from hud.environment.environment import Environment
from hud.environment.server import ControlServer
from hud.environment.source import load_environments, source_files, source_folder
from hud.errors import HudError
from hud.eval.runtimes.lifeline import STOP_LIMIT_S, kill_group

__all__ = ["main"]

_REQUEST_BYTES = 4096


def main(path: str, control_fd: int) -> None:
    """Load the source at `path` and serve fork requests until the socket ends."""
    control = socket.socket(fileno=control_fd)
    sys.dont_write_bytecode = True  # an edit within one second could otherwise meet stale byte code
    sys.path.insert(0, source_folder(path))
    os.dup2(2, 1)  # what the environment prints is for people
    try:
        environments = load_environments(path)
        for environment in environments:
            environment.check()
    except HudError as error:
        _send(control, _failure(error))
        return
    _send(control, {"files": source_files(path), "threads": threading.active_count()})
    # What is alive now never becomes garbage: keep the collector from touching, and so copying, shared pages.
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    spare = _fork(environments, control)
    _send(control, {"files": source_files(path), "threads": threading.active_count()})
    while True:
        data, descriptors = _receive(control)
        if not data:
            break
        try:
            socket.send_fds(spare.line, [data], descriptors)
        except OSError:  # somebody killed it
            spare = _fork(environments, control)
            socket.send_fds(spare.line, [data], descriptors)
        os.close(descriptors[0])
        spare.line.close()
        children.add(spare.pid)
        # The next rollout finds its child waiting: a fork costs more than the exchange it is for.
        spare = _fork(environments, control)
        children -= _ended(children)
    spare.line.close()
    _see_out(children | {spare.pid})


class _Spare(NamedTuple):
    """A child that waits for its rollout: its process id, and the socket by which it is told."""

    pid: int
    line: socket.socket


def _fork(environments: list[Environment], control: socket.socket) -> _Spare:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        control.close()
        ours.close()
        _child(environments, theirs)
    theirs.close()
    return _Spare(pid, ours)


def _child(environments: list[Environment], line: socket.socket) -> None:
    """Serve one rollout in a process group of its own, then end without the parent's exit handlers."""
    lifeline: socket.socket | None = None
    code = 1
    try:
        os.setsid()
        if (numpy := sys.modules.get("numpy")) is not None:  # the standard library reseeds itself after a fork
            numpy.random.seed()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        data, descriptors = _receive(line)
        if data:
            lifeline = socket.socket(fileno=descriptors[0])
            loop.run_until_complete(_serve(_choose(environments, json.loads(data).get("env")), lifeline))
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
        _send(lifeline, {"port": await server.listen("127.0.0.1", 0), "pid": os.getpid()})
        await over
    finally:
        await server.close()
        await environment.stop()


def _choose(environments: list[Environment], name: str | None) -> Environment:
    matches = [env for env in environments if env.name == name] if name is not None else environments
    if len(matches) != 1:
        declared = ", ".join(env.name for env in environments) or "none"
        raise HudError(f"the source declares no environment {name!r}", hint=f"it declares: {declared}")
    return matches[0]


def _receive(line: socket.socket) -> tuple[bytes, list[int]]:
    """Wait for a request and the descriptor that comes with it; empty when the other side is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(line, _REQUEST_BYTES, 1)
    except ConnectionResetError:
        return b"", []
    return data, descriptors


def _send(line: socket.socket | None, message: dict[str, Any]) -> None:
    if line is None:
        return
    try:
        line.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass  # nobody listens any more


def _failure(error: HudError) -> dict[str, Any]:
    return {"error": error.message, "hint": error.hint}


def _ended(children: set[int]) -> set[int]:
    ended = set()
    for pid in children:
        if os.waitpid(pid, os.WNOHANG)[0]:
            ended.add(pid)
    return ended


def _see_out(children: set[int]) -> None:
    """Wait for the children, whose lifelines have ended with ours, and kill those that do not come to an end."""
    deadline = time.monotonic() + STOP_LIMIT_S
    while children and time.monotonic() < deadline:
        children -= _ended(children)
        time.sleep(0.01)
    for pid in children:
        kill_group(pid)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
