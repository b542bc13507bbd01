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
import signal
import socket
import sys
import threading
import time
from typing import Any

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
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 1)
        except InterruptedError:
            continue
        if not data:
            break
        (lifeline,) = descriptors
        pid = os.fork()
        if pid == 0:
            control.close()
            _child(environments, json.loads(data).get("env"), socket.socket(fileno=lifeline))
        os.close(lifeline)
        children.add(pid)
        children -= _ended(children)
    _see_out(children)


def _child(environments: list[Environment], name: str, lifeline: socket.socket) -> None:
    """Serve one rollout in a process group of its own, then end without the parent's exit handlers."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a terminal's Ctrl-C reaches it
        asyncio.run(_serve(_choose(environments, name), lifeline))
        code = 0
    except HudError as error:
        _send(lifeline, _failure(error))
    except BaseException as error:  # noqa: BLE001  a hook of the author may raise anything
        _send(lifeline, {"error": f"{type(error).__name__}: {error}", "hint": None})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


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


def _send(line: socket.socket, message: dict[str, Any]) -> None:
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
