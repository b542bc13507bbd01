"""From a started container to one whose channel answers, and what became of it when it is gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hud.client.blocking import read_reply
from hud.errors import DeadlineError, HudError, NotAuthorisedError, RuntimeStartError, UnreachableError
from hud.eval.config import RuntimeLimits
from hud.eval.runtimes.docker_connection import endpoint
from hud.eval.runtimes.docker_containers import kill, last_lines, state
from hud.eval.runtimes.docker_launch import ContainerSpec, Started, ended, indented
from hud.wire import TOKEN_VARIABLE, decode, encode_request

__all__ = ["STARTUP_TIMEOUT_S", "Life", "reached_directly"]

STARTUP_TIMEOUT_S = 120.0
"""How long a started container may take to answer `hello`, where `limits.startup_timeout_s` says nothing."""

_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.005, 0.1
_LOOK_EVERY_S = 0.25
_ATTEMPT_S = 5.0
_NOTICE_S = 2.0
_OWN_ADDRESS_S = 1.0
_REPLY_LIMIT_BYTES = 1 << 20

_Result = TypeVar("_Result")
_looks = ThreadPoolExecutor(4, thread_name_prefix="hud-docker-look")


class Life:
    """The time limits of one container and what became of it."""

    def __init__(self, spec: ContainerSpec, limits: RuntimeLimits) -> None:
        self._spec = spec
        self._startup_timeout_s = limits.startup_timeout_s or STARTUP_TIMEOUT_S
        self._run_timeout_s = limits.run_timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False
        self._answered = False

    async def begin(self, started: Started, token: str) -> None:
        """Start the clocks and wait until the channel answers `hello`.

        Tries often at first, and notices at once when the container ends.

        Raises:
            DeadlineError: It did not answer in time; the message has its last lines.
            RuntimeStartError: The container ended, or something else listens on the port.
        """
        loop = asyncio.get_running_loop()
        begun = looked = loop.time()
        deadline = begun + self._startup_timeout_s
        if self._run_timeout_s is not None:
            self._timer = loop.call_later(self._run_timeout_s, self._expire)
        while True:
            pause_s = _LOOK_EVERY_S
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + _ATTEMPT_S)):
                    await _hello(self._spec, started, token)
                self._answered = True
                await _try_own_address(self._spec, started, token)
                return
            except TimeoutError:
                seen = "it accepts and does not answer"
            except ConnectionRefusedError:
                # What a container leaves behind whose port is no longer forwarded: look sooner.
                seen, pause_s = "nothing accepts", _LOOK_EVERY_S / 4
            except OSError:
                seen = "the connection is dropped"
            now = loop.time()
            if now - looked >= pause_s or now >= deadline:
                looked = now
                container = await _in_thread(state, self._spec.name)
                if not container.running:
                    raise await _in_thread(ended, self._spec, container)
            if now >= deadline:
                raise await _in_thread(self._silent, seen)
            # In proportion to the wait so far: a late try costs little beside it, and every try costs processor time
            # that the container could use to come up.
            pause_s = min(max((now - begun) / 5, _FIRST_RETRY_S), _LONGEST_RETRY_S)
            await asyncio.sleep(min(pause_s, deadline - now))

    def _silent(self, seen: str) -> DeadlineError:
        printed = last_lines(self._spec.name)
        lines = f"; its last lines:\n{indented(printed)}" if printed else "; it printed nothing"
        return DeadlineError(
            f"the container of image {self._spec.image!r} did not answer on port {self._spec.port} within its"
            f" startup_timeout_s of {self._startup_timeout_s:g} s: {seen}{lines}",
            hint=f"is it served on 0.0.0.0:{self._spec.port}? DockerRuntime(…, port=…) names another port,"
            " limits.startup_timeout_s gives more time",
        )

    def _expire(self) -> None:
        self._expired = True
        _looks.submit(kill, self._spec.name)

    def end(self) -> None:
        """Stop the clocks."""
        if self._timer is not None:
            self._timer.cancel()

    async def fate(self, error: Exception) -> HudError | None:
        """Say why the container is gone from under a rollout; None when it is not, or never answered.

        Args:
            error: What the rollout met. A lost connection is ahead of the engine's notice of what ended behind it.
        """
        if self._expired:
            return DeadlineError(
                f"the container of image {self._spec.image!r} was ended by its run_timeout_s of"
                f" {self._run_timeout_s:g} s"
            )
        if not self._answered:
            return None
        notice_by = asyncio.get_running_loop().time() + (_NOTICE_S if isinstance(error, UnreachableError) else 0.0)
        while True:
            try:
                container = await _in_thread(state, self._spec.name)
            except HudError:
                return None
            if not container.running:
                break
            if asyncio.get_running_loop().time() >= notice_by:
                return None
            await asyncio.sleep(_LONGEST_RETRY_S)
        why = "for want of memory" if container.out_of_memory else f"with code {container.exit_code}"
        printed = await _in_thread(last_lines, self._spec.name)
        lines = f"; its last lines:\n{indented(printed)}" if printed else ""
        return RuntimeStartError(f"the container of image {self._spec.image!r} ended {why} while in use{lines}")


async def _hello(spec: ContainerSpec, started: Started, token: str) -> None:
    """Say hello once: a lost connection is an OSError and worth another try, an answer that is none is final."""
    try:
        await _say_hello(started.host, started.port, token)
    except NotAuthorisedError as error:
        raise RuntimeStartError(
            f"the container of image {spec.image!r} does not take the channel token it was given",
            hint=f"do not set {TOKEN_VARIABLE} in run_args",
        ) from error
    except ValueError as error:
        raise RuntimeStartError(
            f"port {spec.port} of the container of image {spec.image!r} is no control channel: {error}",
            hint="DockerRuntime(…, port=…) is the port that `hud serve` has in the image",
        ) from error


async def _say_hello(host: str, port: int, token: str) -> None:
    reader, writer = await asyncio.open_connection(host, port, limit=_REPLY_LIMIT_BYTES)
    try:
        writer.write(encode_request(1, "hello", {"token": token}))
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("closed before hello was answered")
        read_reply(decode(line), 1, "hello")
    finally:
        writer.close()


_reached_directly: dict[str, bool] = {}


def reached_directly() -> bool:
    """Whether this engine's containers were found to be reachable at their own addresses.

    Their ports need not be published then. Publishing one takes a fifth of the processor time that the engine spends
    on a short-lived container, and ends in a proxy on this machine that connects to the same address.
    """
    return _reached_directly.get(endpoint().url, False)


async def _try_own_address(spec: ContainerSpec, started: Started, token: str) -> None:
    """Find out, by the first container of an engine, whether the next ones are reached at their own addresses."""
    url = endpoint().url
    if url not in _reached_directly and not spec.run_args:
        _reached_directly[url] = _is_local_address(started.gateway) and await _is_its_own(spec, started, token)


def _is_local_address(address: str) -> bool:
    """Whether this machine has an address: the gateway of a bridge that is here, not in a virtual machine."""
    if not address:
        return False
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


async def _is_its_own(spec: ContainerSpec, started: Started, token: str) -> bool:
    """Whether a container's address leads to it: there its token is taken, and another is not.

    An image that ignores tokens does not pass, nor does another container that has the same address in another network.
    """
    port = spec.port or 0
    try:
        async with asyncio.timeout(_OWN_ADDRESS_S):
            await _say_hello(started.own_address, port, token)
            try:
                await _say_hello(started.own_address, port, f"not {token}")
            except NotAuthorisedError:
                return True
    except (OSError, TimeoutError, HudError, ValueError):
        pass
    return False


async def _in_thread(function: Callable[..., _Result], *arguments: object) -> _Result:
    return await asyncio.wrap_future(_looks.submit(function, *arguments))
