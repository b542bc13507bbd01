"""A control-channel client for commands: plain sockets, one call at a time, nothing heavy to import."""

from __future__ import annotations

import socket
import time

from hud.errors import DeadlineError, HudProtocolError, NotAuthorisedError, UnreachableError, UsageError
from hud.wire import DEFAULT_PORT, INTERNAL_ERROR, LIMIT_BYTES, UNAUTHORISED, decode, encode_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

__all__ = ["Connection", "encode_call", "no_address", "parse_url", "read_reply"]

_RETRY_S = 0.05
_CHUNK_BYTES = 1 << 18


def parse_url(url: str) -> tuple[str, int]:
    """Split `tcp://host:port`; the scheme and the port 8765 may be left out.

    Raises:
        UsageError: another scheme, no host, or a port that is none.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "tcp", url
    if rest.startswith("["):
        host, closed, port = rest[1:].partition("]")
        colon, port = (port[:1], port[1:]) if closed else ("[", "")
    elif rest.count(":") > 1:  # an IPv6 address alone
        host, colon, port = rest, "", ""
    else:
        host, colon, port = rest.partition(":")
    if not colon and not port:
        port = str(DEFAULT_PORT)
    numeric = ":" in host or rest.startswith("[")
    right_host = host and "/" not in host and (not numeric or _is_ipv6(host))
    if scheme != "tcp" or not right_host or colon not in ("", ":") or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{url!r} is no control-channel address", hint="give tcp://HOST:PORT")
    return host, int(port)


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, UnicodeError):
        return False
    return True


def encode_call(request_id: int, method: str, params: dict[str, Any]) -> bytes:
    """Write one request frame.

    Raises:
        UsageError: it has no JSON form, or is larger than a frame.
    """
    try:
        request = encode_request(request_id, method, params)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{method}: {error}") from error
    if len(request) > LIMIT_BYTES + 1:
        raise UsageError(f"{method}: the request is {len(request) - 1} bytes; a frame holds {LIMIT_BYTES}")
    return request


def is_reply_to(frame: dict[str, Any], request_id: int) -> bool:
    """Tell whether a frame carries this id; an equal number or text of another type is another id."""
    return type(frame.get("id")) is int and frame["id"] == request_id


def read_reply(frame: dict[str, Any], request_id: int, method: str) -> dict[str, Any]:
    """Give the result of a reply frame.

    Raises:
        HudProtocolError: it is an error, answers another request, or holds no object (CC-54).
        NotAuthorisedError: the channel wants a token.
    """
    error = frame.get("error")
    if not is_reply_to(frame, request_id) and not (isinstance(error, dict) and frame.get("id") is None):
        raise HudProtocolError(INTERNAL_ERROR, f"'{method}': reply id did not match request")
    if isinstance(error, dict):
        code, message = error.get("code", -32000), error.get("message", "")
        if code == UNAUTHORISED:
            raise NotAuthorisedError(str(message), hint="set HUD_CHANNEL_TOKEN to the token it was served with")
        raise HudProtocolError(code, str(message))
    result = frame.get("result")
    if not isinstance(result, dict):
        raise HudProtocolError(INTERNAL_ERROR, f"'{method}': result was not an object")
    return result


def no_address(host: str, error: OSError | UnicodeError) -> UnreachableError:
    """Say that a host's name leads nowhere; trying again would not help."""
    reason = error.strerror if isinstance(error, OSError) else error
    return UnreachableError(f"{host} has no address: {reason}", hint="check the host's name")


class Connection:
    """An open channel that has said hello; a context manager.

    Leaving it disconnects without `bye`, so a started task stays parked for a later grade (CC-57).

    Attributes:
        hello: The result of `hello`: `session_id`, `env`, `bindings`.
    """

    def __init__(self, stream: socket.socket, token: str | None) -> None:
        self._socket = stream
        self._token = token
        self._buffer = bytearray()
        self._last_id = 0
        self.hello: dict[str, Any] = {}

    @classmethod
    def open(cls, url: str, *, timeout_s: float, token: str | None = None) -> Connection:
        """Connect and say hello, trying again while nothing accepts or the peer hangs up (CC-53).

        Args:
            timeout_s: For connecting, all tries together; an error reply ends it at once.

        Raises:
            DeadlineError: nothing answered in that time; the message says what was seen last.
            UnreachableError: the host's name has no address.
            HudProtocolError: the peer answered hello with an error.
        """
        host, port = parse_url(url)
        deadline = time.monotonic() + timeout_s
        seen = ""
        # A text host would load the codec of international names, a tenth of what a command costs.
        address: Any = host.encode() if host.isascii() else host
        while True:
            remaining = max(deadline - time.monotonic(), 0.01)
            try:
                stream = socket.create_connection((address, port), timeout=remaining)
            except (socket.gaierror, UnicodeError) as error:
                raise no_address(host, error) from error
            except OSError as error:
                timed_out = isinstance(error, TimeoutError)
                seen = (seen or "no answer") if timed_out else error.strerror or "no answer"
            else:
                connection = cls(stream, token)
                try:
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.hello = connection.call("hello", {})
                except (EOFError, OSError) as error:
                    stream.close()
                    silent = isinstance(error, TimeoutError)  # the deadline; what was seen before it says more
                    seen = (seen or "it accepts, but does not answer hello") if silent else "it hangs up"
                except BaseException:
                    stream.close()
                    raise
                else:
                    stream.settimeout(None)
                    return connection
            if time.monotonic() + _RETRY_S >= deadline:
                raise DeadlineError(
                    f"no environment answers at tcp://{host}:{port} within {timeout_s:g} s: {seen}",
                    hint="start one with `hud serve`, or give its address with --url",
                )
            time.sleep(_RETRY_S)

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its reply.

        Raises:
            HudProtocolError: an error reply, or a reply that breaks the protocol, after which the connection is closed.
            EOFError: the peer closed the connection.
            OSError: the connection broke, or is closed.
            UsageError: the request has no JSON form, or is larger than a frame.
        """
        self._last_id += 1
        if self._last_id == 1 and self._token is not None:
            params = {**params, "token": self._token}
        self._socket.sendall(encode_call(self._last_id, method, params))
        line = self._line()
        try:
            frame = decode(line)
        except ValueError as error:
            self.close()
            message = f"'{method}': the peer does not speak the protocol: {error}"
            raise HudProtocolError(INTERNAL_ERROR, message) from None
        if not is_reply_to(frame, self._last_id):  # what comes next would answer something else as well (CC-54)
            self.close()
        return read_reply(frame, self._last_id, method)

    def _line(self) -> bytes:
        buffer = self._buffer
        searched = 0
        while (end := buffer.find(b"\n", searched)) < 0:
            searched = len(buffer)
            if searched > LIMIT_BYTES:
                self.close()
                raise HudProtocolError(INTERNAL_ERROR, f"the peer sent a frame of more than {LIMIT_BYTES} bytes")
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk:
                raise EOFError("the environment closed the connection")
            buffer += chunk
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line

    def close(self) -> None:
        """Disconnect; a started task stays parked."""
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
