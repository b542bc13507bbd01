"""A peer that answers as a test says, and both clients to drive against it."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

from hud.client.blocking import Connection
from hud.client.client import connect
from hud.errors import HudError

__all__ = ["HELLO", "Scripted", "hello_reply", "reply", "talk"]

HELLO: dict[str, Any] = {"session_id": "sess-1", "env": {"name": "scripted", "version": "1"}, "bindings": []}

Answer = Callable[[dict[str, Any]], bytes | None]


def reply(frame: dict[str, Any], result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}).encode() + b"\n"


def hello_reply(frame: dict[str, Any], **changes: Any) -> bytes:
    return reply(frame, HELLO | changes)


class Scripted:
    """Listens on a free port; says what `answer` gives for each frame, and hangs up when that is None.

    Attributes:
        frames: What the client sent, connection by connection.
        ended: How many connections the client has closed.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.frames: list[list[dict[str, Any]]] = []
        self.ended = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._streams: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self._streams.append(stream)
            self.frames.append([])
            self._threads.append(threading.Thread(target=self._serve, args=(stream, self.frames[-1])))
            self._threads[-1].start()

    def _serve(self, stream: socket.socket, frames: list[dict[str, Any]]) -> None:
        arrived: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

        def answers() -> None:
            try:
                while (frame := arrived.get()) is not None:
                    data = self.answer(frame)
                    if data is None:
                        stream.shutdown(socket.SHUT_RDWR)
                        return
                    stream.sendall(data)
            except OSError:
                pass

        answering = threading.Thread(target=answers)
        answering.start()
        with stream, stream.makefile("rb") as lines:
            try:
                for line in lines:
                    frames.append(json.loads(line))
                    arrived.put(frames[-1])
            except OSError:
                pass
            self.ended += 1
            arrived.put(None)
            answering.join()

    def close(self) -> None:
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for stream in self._streams:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()


Call = tuple[str, dict[str, Any]]
Outcome = dict[str, Any] | Exception


def talk(kind: str, url: str, *calls: Call, timeout_s: float = 10.0) -> list[Outcome]:
    """Open a channel with one of the clients, make calls one after another, and give what became of each."""
    outcomes: list[Outcome] = []
    if kind == "blocking":
        with Connection.open(url, timeout_s=timeout_s) as connection:
            for method, params in calls:
                try:
                    outcomes.append(connection.call(method, params))
                except (HudError, EOFError, OSError) as error:
                    outcomes.append(error)
        return outcomes

    async def drive() -> None:
        async with connect(url, ready_timeout=timeout_s) as client:
            for method, params in calls:
                try:
                    outcomes.append(await client.call(method, params))
                except HudError as error:
                    outcomes.append(error)

    asyncio.run(drive())
    return outcomes
