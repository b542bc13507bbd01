"""Run a command in a running container: bytes in, bytes out, and its exit code."""

from __future__ import annotations

import secrets
import selectors
import socket
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hud.errors import HudError, NotFoundError, RuntimeStartError
from hud.eval.runtimes.docker_connection import INSTALL_HINT, docker_command, endpoint, engine, translated

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["ExecResult", "exec_in"]

_CHUNK_BYTES = 256 * 1024
_HEADER_BYTES = 8
_MARK = "HUD_EXEC_MARK"

# Ends the processes whose environment holds the mark in $0. Only a shell and /proc are needed, and images have both.
_END_MARKED = (
    'for p in /proc/[0-9]*; do if tr "\\0" "\\n" <"$p/environ" 2>/dev/null | grep -qx "$0";'
    ' then kill -INT "${p#/proc/}"; fi; done'
)


@dataclass(frozen=True)
class ExecResult:
    """How a command in a container ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def exec_in(container: str, argv: Sequence[str], *, stdin: bytes | None = None) -> ExecResult:
    """Run a command in a running container and wait for it.

    Args:
        container: Name or id.
        argv: The command and its arguments; no shell reads them.
        stdin: What it reads, of any size, followed by end of file; None gives it no input.

    Returns:
        Its exit code and output; a command that fails is no error here.

    Raises:
        NotFoundError: No such container, or the container has no such command.
        RuntimeStartError: The container is not running.
        UnreachableError: No engine answers.
        KeyboardInterrupt: As raised here; the command in the container is interrupted too.
    """
    mark = f"{_MARK}={secrets.token_hex(8)}"
    try:
        if endpoint().is_plain_socket:
            result = _exec_by_socket(container, argv, stdin, mark)
        else:
            result = _exec_by_command(container, argv, stdin, mark)
    except KeyboardInterrupt:
        _interrupt(container, mark)
        raise
    if result.exit_code in (126, 127) and _is_missing(result.stdout + result.stderr):
        raise _missing(container, argv)
    return result


def _exec_by_socket(container: str, argv: Sequence[str], stdin: bytes | None, mark: str) -> ExecResult:
    client = engine()
    try:
        with translated(container=container):
            created = client.exec_create(container, list(argv), stdin=stdin is not None, environment=[mark])
            stream: Any = client.exec_start(created["Id"], socket=True)
            try:
                output = _exchange(stream, stdin)
            finally:
                _close(stream)
            exit_code = _exit_code(client, created["Id"])
    except RuntimeStartError as error:
        if _is_missing(error.message.encode()):
            raise _missing(container, argv) from error
        raise
    return ExecResult(exit_code, bytes(output[1]), bytes(output[2]))


def _exit_code(client: APIClient, exec_id: str) -> int:
    """The code of a finished command, for which the engine may take a moment after its output has ended."""
    import time

    for _ in range(200):
        facts = client.exec_inspect(exec_id)
        if not facts["Running"] and facts["ExitCode"] is not None:
            return int(facts["ExitCode"])
        time.sleep(0.02)
    raise RuntimeStartError("the command's output ended but the command did not")


def _exchange(stream: Any, stdin: bytes | None) -> dict[int, bytearray]:
    """Write all of `stdin` and read all output at once: either side alone fills a buffer and stops the other."""
    raw: socket.socket = getattr(stream, "_sock", stream)  # the SDK gives the reader around the socket
    raw.setblocking(False)
    # The reader that parsed the reply's headers may already hold the first bytes behind them.
    held = _held(stream)
    pending = memoryview(stdin or b"")
    buffer = bytearray(held)
    output = {1: bytearray(), 2: bytearray()}
    with selectors.DefaultSelector() as selector:
        selector.register(raw, selectors.EVENT_READ | (selectors.EVENT_WRITE if stdin is not None else 0))
        while True:
            _demultiplex(buffer, output)
            for _, events in selector.select():
                if events & selectors.EVENT_WRITE:
                    pending = _send(raw, pending)
                    if not pending:
                        raw.shutdown(socket.SHUT_WR)
                        selector.modify(raw, selectors.EVENT_READ)
                if events & selectors.EVENT_READ:
                    try:
                        read = raw.recv(_CHUNK_BYTES)
                    except BlockingIOError:
                        continue
                    except ConnectionResetError:  # Podman, when the command has ended with input to be read
                        read = b""
                    if not read:
                        _demultiplex(buffer, output)
                        return output
                    buffer += read


def _close(stream: Any) -> None:
    """Close the reply, which holds the reader, and the socket behind it."""
    raw = getattr(stream, "_sock", stream)
    response = getattr(stream, "_response", None)
    if response is not None:
        response.close()
    stream.close()
    raw.close()


def _send(raw: socket.socket, pending: memoryview) -> memoryview:
    """Send what goes; a command that ended without reading the rest is not an error."""
    try:
        return pending[raw.send(pending[:_CHUNK_BYTES]) :]
    except BlockingIOError:
        return pending
    except (BrokenPipeError, ConnectionResetError):
        return pending[:0]


def _held(stream: Any) -> bytes:
    response = getattr(stream, "_response", None)
    reader = getattr(getattr(getattr(response, "raw", None), "_fp", None), "fp", None)
    if reader is None or not hasattr(reader, "peek"):
        return b""
    held: bytes = reader.read1(len(reader.peek()))
    return held


def _demultiplex(buffer: bytearray, output: dict[int, bytearray]) -> None:
    """Move whole frames from `buffer` to the stream each names: one byte of stream, three of nothing, four of size.

    Source: Docker Engine API, "Attach to a container", stream format.
    """
    at = 0
    while len(buffer) - at >= _HEADER_BYTES:
        kind, size = struct.unpack_from(">BxxxL", buffer, at)
        end = at + _HEADER_BYTES + size
        if len(buffer) < end:
            break
        output.setdefault(kind, bytearray()).extend(memoryview(buffer)[at + _HEADER_BYTES : end])
        at = end
    del buffer[:at]


def _exec_by_command(container: str, argv: Sequence[str], stdin: bytes | None, mark: str) -> ExecResult:
    """By the `docker` command, for engines behind TLS or ssh, where a stream cannot be closed in one direction."""
    flags = ["exec", "--env", mark, *(["--interactive"] if stdin is not None else [])]
    done = subprocess.run(
        [docker_command(), *flags, container, *argv],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    if done.returncode == 1 and said.startswith(("Error response from daemon:", "Error: No such container")):
        from hud.eval.runtimes.docker_connection import explain

        raise explain(said, container=container)
    return ExecResult(done.returncode, done.stdout, done.stderr)


def _is_missing(said: bytes) -> bool:
    return b"exec failed" in said and (b"executable file not found" in said or b"no such file or directory" in said)


def _missing(container: str, argv: Sequence[str]) -> NotFoundError:
    return NotFoundError(
        f"container {container!r} has no command {argv[0]!r}",
        hint=INSTALL_HINT,
    )


def _interrupt(container: str, mark: str) -> None:
    """Pass an interrupt on to the marked command; the engine itself leaves it running when its reader goes."""
    try:
        client = engine()
        with translated(container=container):
            created = client.exec_create(container, ["sh", "-c", _END_MARKED, mark], stdout=False, stderr=False)
            client.exec_start(created["Id"], detach=True)
    except HudError:
        return
