"""An asynchronous client of one control channel."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from hud.capabilities import Capability
from hud.client.blocking import encode_call, no_address, parse_url, read_reply
from hud.client.forward import Forwarder
from hud.errors import DeadlineError, HudError, HudProtocolError, NotFoundError, UnreachableError, UsageError
from hud.wire import INTERNAL_ERROR, LIMIT_BYTES, TOKEN_VARIABLE, decode

__all__ = ["Address", "Client", "Manifest", "ServerInfo", "connect"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
_AT_ANY_TIME = ("tasks.cancel", "bye")
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.005, 0.25


class Address(Protocol):
    """Where a control channel is, such as a `Runtime`."""

    @property
    def url(self) -> str:
        """`tcp://host:port`."""

    @property
    def params(self) -> Mapping[str, Any]:
        """`token` is the channel's shared token."""


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """The name and version that an environment's author gave it."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an environment says of itself in `hello`.

    Attributes:
        session_id: Names this connection's session; with it, `Client.hello` takes over a task that was left parked.
        bindings: Its capabilities at their own addresses; `Client.binding` gives reachable ones.
    """

    session_id: str
    server_info: ServerInfo
    bindings: tuple[Capability, ...]
    protocol_version: str = "hud/1.0"

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.server_info.name

    @property
    def version(self) -> str:
        """The environment's version."""
        return self.server_info.version


class Client(asyncio.Protocol):
    """One connection to an environment: at most one call at a time, cancel excepted (CC-51).

    Made by `connect`. A capability's local address is opened on first use and closed with the client.

    Attributes:
        manifest: The environment's identity and capabilities.
    """

    manifest: Manifest

    def __init__(self, host: str, port: int, *, token: str | None) -> None:
        self._address = (host, port)
        self._token = token
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._last_id = 0
        self._waiting: dict[int, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._quiet: asyncio.Event | None = None  # set when the outstanding call is answered, if another waits
        self._forwarders: dict[str, Forwarder] = {}
        self._lost: Exception | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        searched = len(buffer)
        buffer += data
        start = 0
        while (end := buffer.find(b"\n", searched)) >= 0:
            self._frame(bytes(buffer[start:end]))
            start = searched = end + 1
        if start:
            del buffer[:start]
        if len(buffer) > LIMIT_BYTES:
            self._fail(HudProtocolError(INTERNAL_ERROR, f"the peer sent a frame of more than {LIMIT_BYTES} bytes"))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or EOFError("the environment closed the connection"))

    def _frame(self, line: bytes) -> None:
        try:
            frame = decode(line)
        except ValueError as error:
            self._fail(HudProtocolError(INTERNAL_ERROR, f"the peer does not speak the protocol: {error}"))
            return
        request_id = frame.get("id")
        waiting = self._waiting.pop(request_id, None) if type(request_id) is int else None
        if waiting is None:
            if not self._waiting:
                self._fail(HudProtocolError(INTERNAL_ERROR, "the peer sent a frame that answers nothing"))
                return
            # An error without an id belongs to the one outstanding call; anything else breaks the protocol (CC-54).
            expected = next(iter(self._waiting))
            method, future = self._waiting.pop(expected)
            try:
                read_reply(frame, expected, method)
            except HudError as error:
                _reject(future, error)
            self._answered()
            self._fail(EOFError("the connection was dropped after a reply that did not match"))
            return
        self._answered()
        method, future = waiting
        if future.done():
            return
        try:
            future.set_result(read_reply(frame, cast(int, request_id), method))
        except HudError as error:
            future.set_exception(error)

    def _answered(self) -> None:
        if self._quiet is not None and not self._waiting:
            self._quiet.set()
            self._quiet = None

    def _fail(self, error: Exception) -> None:
        if self._lost is None:
            self._lost = error
        if self._transport is not None:
            self._transport.close()
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            _reject(future, error)
        self._answered()

    # Calls

    async def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and give its result; a call that is still running is waited for first, but by a cancel.

        Raises:
            HudProtocolError: the reply is an error or breaks the protocol.
            UnreachableError: the connection is gone.
            UsageError: the request has no JSON form, or is larger than a frame.
        """
        while self._waiting and method not in _AT_ANY_TIME:
            if self._quiet is None:
                self._quiet = asyncio.Event()
            await self._quiet.wait()
        try:
            return await self._send(method, params)
        except (OSError, EOFError) as error:
            raise UnreachableError(f"the connection to the environment was lost during {method}: {error}") from error

    def _send(self, method: str, params: Mapping[str, Any]) -> asyncio.Future[dict[str, Any]]:
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if self._lost is not None or self._transport is None:
            future.set_exception(EOFError(str(self._lost) if self._lost else "not connected"))
            return future
        self._last_id += 1
        if self._last_id == 1 and self._token is not None:
            params = {**params, "token": self._token}
        request = encode_call(self._last_id, method, cast(dict[str, Any], params))
        self._waiting[self._last_id] = (method, future)
        self._transport.write(request)
        return future

    async def hello(self, session_id: str | None = None) -> Manifest:
        """Say hello (again): the answer doubles as a heartbeat, and shows capabilities that were added since.

        Args:
            session_id: A parked session to take over; its started task is then this client's to grade or cancel.
        """
        result = await self.call("hello", {} if session_id is None else {"session_id": session_id})
        self.manifest = _manifest(result)
        return self.manifest

    async def list_tasks(self) -> list[dict[str, Any]]:
        """Give the environment's templates: `id`, `description`, `args` as a JSON Schema, and more."""
        rows = (await self.call("tasks.list", {})).get("tasks")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def start_task(self, id: str, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Start a task and give its prompt frame, an object with `prompt`."""
        result = await self.call("tasks.start", {"id": id, "args": dict(args or {})})
        if "prompt" not in result:
            raise HudProtocolError(INTERNAL_ERROR, "tasks.start: result has no 'prompt'")
        return result

    async def grade(self, payload: Any = None) -> dict[str, Any]:
        """Grade the started task with an answer and give its evaluation frame.

        Args:
            payload: `{"answer": …}`, or the bare answer.

        Raises:
            HudProtocolError: grading failed, or the score is no finite number (CC-56).
        """
        params = payload if isinstance(payload, dict) and "answer" in payload else {"answer": payload}
        result = await self.call("tasks.grade", params)
        score = result.get("score")
        if not _is_finite(score):
            raise HudProtocolError(
                INTERNAL_ERROR, f"tasks.grade: result must include a finite numeric 'score', got {score!r:.80}"
            )
        return result

    async def cancel(self) -> None:
        """Cancel the started task, or the call that is running."""
        await self.call("tasks.cancel", {})

    # Capabilities

    def binding(self, reference: str) -> Capability:
        """Give a capability at an address that is reachable from here.

        Args:
            reference: A name, a protocol (`rfb/3.8`) or a family (`rfb`).

        Raises:
            NotFoundError: the environment has none such.
            UsageError: several match.
        """
        bindings = self.manifest.bindings
        found = (
            [capability for capability in bindings if capability.name == reference]
            or [capability for capability in bindings if capability.protocol == reference]
            or [capability for capability in bindings if capability.family == reference]
        )
        if not found:
            names = ", ".join(f"{c.name} ({c.protocol})" for c in self.manifest.bindings) or "none"
            raise NotFoundError(
                f"no capability {reference!r} in environment {self.manifest.name!r}", hint=f"it has: {names}"
            )
        if len(found) > 1:
            names = ", ".join(capability.name for capability in found)
            raise UsageError(f"{reference!r} means several capabilities", hint=f"name one: {names}")
        capability = found[0]
        forwarder = self._forwarders.get(capability.name)
        if forwarder is None:
            forwarder = Forwarder(capability.name, *self._address, token=self._token)
            forwarder.open(capability.url)
            self._forwarders[capability.name] = forwarder
        return Capability(capability.name, capability.protocol, forwarder.url, capability.params)

    async def close(self) -> None:
        """Disconnect: a started task stays parked (CC-57)."""
        for forwarder in self._forwarders.values():
            await forwarder.close()
        self._forwarders.clear()
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def connect(runtime: Address | str, *, ready_timeout: float = 240.0) -> AsyncIterator[Client]:
    """Connect to a runtime's control channel and say hello.

    Args:
        runtime: Where it is; its `params["token"]` is the channel's token, HUD_CHANNEL_TOKEN when there is none.
        ready_timeout: Seconds in which a refused or dropped connection is tried again (CC-53).

    Raises:
        DeadlineError: nothing answered hello in that time.
        UnreachableError: the host's name has no address.
        HudProtocolError: hello was answered with an error.
    """
    url, params = (runtime, {}) if isinstance(runtime, str) else (runtime.url, runtime.params)
    token = params.get("token") or os.environ.get(TOKEN_VARIABLE) or None
    client = await open_client(url, token=token, ready_timeout_s=ready_timeout)
    try:
        yield client
    finally:
        await client.close()


async def open_client(url: str, *, token: str | None, ready_timeout_s: float) -> Client:
    """Connect and say hello until it is answered; the caller closes the client."""
    host, port = parse_url(url)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ready_timeout_s
    pause_s = _FIRST_RETRY_S
    seen = ""
    while True:
        client = Client(host, port, token=token)
        try:
            async with asyncio.timeout_at(deadline):
                await loop.create_connection(lambda client=client: client, host, port)  # type: ignore[misc]
                client.manifest = _manifest(await client._send("hello", {}))
            return client
        except (socket.gaierror, UnicodeError) as error:
            raise no_address(host, error) from error
        except (OSError, EOFError) as error:
            accepted = client._transport is not None
            if isinstance(error, TimeoutError):  # the deadline; what was seen before it says more
                seen = seen or ("it accepts, but does not answer hello" if accepted else "no answer")
            elif accepted:
                seen = "it hangs up"
            else:
                errno = getattr(error, "errno", None)
                seen = os.strerror(errno) if errno else str(error)
            await client.close()
        except BaseException:
            await client.close()
            raise
        if loop.time() + pause_s >= deadline:
            raise DeadlineError(
                f"no environment answers at tcp://{host}:{port} within {ready_timeout_s:g} s: {seen}",
                hint="is it served there? `hud serve` prints its address",
            )
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_RETRY_S)


def _manifest(hello: dict[str, Any]) -> Manifest:
    try:
        env = hello["env"]
        bindings = tuple(Capability.from_manifest(binding) for binding in hello["bindings"])
        server_info = ServerInfo(name=env["name"], version=env["version"])
        return Manifest(session_id=hello["session_id"], server_info=server_info, bindings=bindings)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HudProtocolError(
            INTERNAL_ERROR, f"hello: the result is not that of an environment ({error!r})"
        ) from error


def _is_finite(score: object) -> bool:
    if isinstance(score, bool) or not isinstance(score, int | float):
        return False
    try:
        return math.isfinite(score)
    except OverflowError:  # an int beyond the largest float
        return False


def _reject(future: asyncio.Future[dict[str, Any]], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # a caller that was cancelled meanwhile does not read it
