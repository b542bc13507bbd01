"""One connection of a control channel: frames in, replies out, and at most one started task.

Source: control-channel specification, sections 1 to 6. Everything that needs no template code is answered inside
`buffer_updated`; `tasks.start` and `tasks.grade` run as one task beside it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from hud.environment.replies import ROOMY, Refused, fitting, mint, oversize, params_object
from hud.environment.runner import Runner, settle
from hud.environment.signature import MISSING
from hud.environment.tunnel import Splice, address, dial
from hud.wire import (
    BUSY,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LIMIT_BYTES,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    TASK_ERROR,
    UNAUTHORISED,
    decode,
    encode,
    encode_error,
    encode_result,
)

if TYPE_CHECKING:
    from hud.environment.channel import ControlServer
    from hud.environment.served import Served

__all__ = ["Session"]

_log = logging.getLogger("hud.environment")

_LINGER_S = 2.0
"""How long a refused sender is read on, so that the refusal is not lost in a reset."""


class Session(asyncio.BufferedProtocol):
    """The server's end of one connection.

    Attributes:
        id: The session id, minted when somebody needs it: a `hello`, or parking.
        runner: The started task that waits for its answer, if any.
        call: The running `tasks.start` or `tasks.grade`, if any.
    """

    __slots__ = (
        "_call_id",
        "_choked",
        "_fresh",
        "_gone",
        "_grading",
        "_held",
        "_interrupted_by",
        "_loop",
        "_read_buffer",
        "_refused",
        "_rest",
        "call",
        "id",
        "runner",
        "served",
        "server",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, server: ControlServer) -> None:
        self.server = server
        self._read_buffer = server.read_buffer
        self._loop = asyncio.get_running_loop()
        self.served: Served = server.served
        self.id: str | None = None
        self.runner: Runner | None = None
        self.call: Runner | None = None
        self._call_id: Any = None
        self._grading = False
        self._interrupted_by: str | None = None
        self._fresh = True
        self._gone = False
        self._refused = False
        self._rest: bytearray | None = None
        self._choked = False  # the peer does not read its replies
        self._held = False  # a cancel or bye is not answered yet, or a tunnel's daemon

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server.sessions.add(self)
        self.served.users += 1

    def connection_lost(self, _error: Exception | None) -> None:
        self.server.strays.discard(self.transport)
        self._leave()

    def pause_writing(self) -> None:
        # A peer that does not read its replies gets no further requests read.
        self._choked = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        self._read_on()

    def _hold(self) -> None:
        """Leave further frames unread until something that takes time is answered."""
        self._held = True
        self.transport.pause_reading()

    def _read_on(self) -> None:
        """Read again, beginning with the frames that had arrived when reading was paused."""
        if self._choked or self._held or self._refused or self.transport.is_closing():
            return
        self.transport.resume_reading()
        rest, self._rest = self._rest, None
        if rest:
            self._received(bytes(rest))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the protocol's signature
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._read_buffer[:nbytes])
        if self._rest is None and not self._refused and data.find(b"\n") == nbytes - 1:
            self._line(data)  # the usual case: one whole frame, and small enough, because the buffer is
        else:
            self._received(data)

    def _received(self, data: bytes) -> None:
        if self._refused:
            return
        rest = self._rest
        if rest is None:
            searched = 0
            rest = bytearray(data)
        else:
            searched = len(rest)
            rest += data
        self._rest = None
        start = 0
        while (end := rest.find(b"\n", searched)) >= 0:
            line = bytes(rest[start:end])
            start = searched = end + 1
            if len(line) > LIMIT_BYTES:
                self._refuse_frame(
                    TASK_ERROR, f"Control-channel frame is {len(line)} bytes; limit is {LIMIT_BYTES} bytes."
                )
                return
            self._line(line)
            if not self.transport.is_reading() or self._refused:
                if not self._gone:
                    self._rest = rest[start:]  # until we read on
                return
        size = len(rest) - start
        if size > LIMIT_BYTES:
            self._refuse_frame(
                TASK_ERROR,
                f"Control-channel frame exceeds the limit of {LIMIT_BYTES} bytes (received at least {size} bytes).",
            )
        elif size:
            self._rest = rest[start:] if start else rest

    def eof_received(self) -> bool:
        if self._rest and not self._refused:
            line, self._rest = bytes(self._rest), None
            self._line(line)  # a last frame may end with the stream (CC-03)
        self._leave()
        return self.call is not None or self._held  # their replies still go out

    def _leave(self) -> None:
        """The other side is gone: park what waits, let a start finish, stop a grade (protocol section 6)."""
        if self._gone:
            return
        self._gone = True
        self._rest = None
        if self._held:
            return  # what holds it releases it
        if self.call is None:
            self._release()
        elif self._grading:
            # After what is ready now: a grade that does not wait is still answered to a peer that only sends no more.
            self._loop.call_soon(self._give_up, self.call)

    def _give_up(self, call: Runner) -> None:
        if self.call is call:
            call.task.cancel()

    def _release(self) -> None:
        """Park the waiting task, or forget the session."""
        runner, self.runner = self.runner, None
        self.server.forget(self)
        if runner is not None:
            self.server.park(self.id or mint(), runner, self.served)
        self.served.leave()

    # Frames

    def _line(self, line: bytes) -> None:
        try:
            frame = decode(line)
        except ValueError as error:
            self._refuse_frame(PARSE_ERROR, f"not a control-channel frame: {error}")
            return
        request_id = frame.get("id")
        method = frame.get("method")
        try:
            if self._fresh:
                if self.server.token is not None:
                    self._check_token(frame.get("params"))
                self._fresh = False
                if method == "tunnel.open":
                    self._open_tunnel(request_id, frame.get("params"))
                    return
            if self.call is not None and method not in ("tasks.cancel", "bye"):
                raise Refused(BUSY, f"{method}: a task call is still running")
            if method == "tasks.start":
                self._start(request_id, params_object(frame.get("params")))
            elif method == "tasks.grade":
                self._grade(request_id, params_object(frame.get("params")))
            elif method == "hello":
                self._reply(request_id, fitting(request_id, self._hello(params_object(frame.get("params")))))
            elif method == "tasks.list":
                self._reply(request_id, fitting(request_id, self.served.tasks_json()))
            elif method == "tasks.cancel":
                self._stop(request_id, "tasks.cancel", '{"cancelled":true}')
            elif method == "bye":
                self._stop(request_id, "bye", '{"goodbye":true}')
            else:
                raise Refused(METHOD_NOT_FOUND, f"method not found: {method if isinstance(method, str) else ''}")
        except Refused as error:
            self._error(request_id, error.code, str(error))
            if error.code == UNAUTHORISED:
                self._hang_up()
        except Exception as error:  # noqa: BLE001  the outermost loop: a fault in one call must not end the connection
            _log.exception("%s failed", method)
            self._error(request_id, INTERNAL_ERROR, f"{method}: {type(error).__name__}: {error}")

    def _reply(self, request_id: Any, result: str) -> None:
        if request_id is not None and not self._refused and not self.transport.is_closing():
            self.transport.write(encode_result(request_id, result))

    def _error(self, request_id: Any, code: int, message: str) -> None:
        if request_id is not None and not self._refused and not self.transport.is_closing():
            self.transport.write(encode_error(request_id, code, message))

    def _refuse_frame(self, code: int, message: str) -> None:
        """Answer what is no frame, then close; the waiting task is parked (CC-05, CC-08, CC-09)."""
        if not self.transport.is_closing():
            self.transport.write(encode_error(None, code, message))
        self._hang_up()
        self._leave()

    def _hang_up(self) -> None:
        """End our side, and read on for a moment: closing over unread bytes would reset the reply away."""
        self._refused = True
        self._rest = None
        if self.transport.is_closing():
            return
        self.server.strays.add(self.transport)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._loop.call_later(_LINGER_S, self.transport.abort)

    def _check_token(self, params: Any) -> None:
        from hmac import compare_digest

        token = params.get("token") if isinstance(params, dict) else None
        expected = cast(str, self.server.token)
        # JSON can carry lone surrogates, which plain UTF-8 cannot.
        if not isinstance(token, str) or not compare_digest(
            token.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
        ):
            raise Refused(UNAUTHORISED, "this channel asks for a token, and the first frame has none or another")

    # Methods

    def _hello(self, params: dict[str, Any]) -> str:
        refusal = self.served.refuse_lists(params)
        if refusal is not None:
            raise Refused(*refusal)
        wanted = params.get("session_id")
        if wanted is not None:
            if not isinstance(wanted, str):
                raise Refused(INVALID_PARAMS, "hello: 'session_id' must be a string")
            if wanted != self.id:
                self._resume(wanted)
        if self.id is None:
            self.server.name(self, mint())
        return f'{{"session_id":"{self.id}",{self.served.identity_json()}}}'

    def _resume(self, wanted: str) -> None:
        if wanted in self.server.live:
            raise Refused(INVALID_REQUEST, f"session {wanted!r} has a live connection")
        parked = self.server.unpark(wanted)
        if parked is None:
            raise Refused(INVALID_REQUEST, f"unknown session: {wanted!r}")
        if self.runner is not None:
            self.server.park(self.id or mint(), self.runner, self.served)
        self.server.name(self, wanted)
        self.runner = parked.runner
        self._serve_from(parked.served)

    def _serve_from(self, served: Served) -> None:
        """Belong to the environment that the resumed task came from; it may be one from before a reload."""
        self.served.leave()
        self.served = served

    def _start(self, request_id: Any, params: dict[str, Any]) -> None:
        task_id, arguments, slug = params.get("id"), params.get("args"), params.get("slug")
        if not isinstance(task_id, str):
            raise Refused(INVALID_PARAMS, "tasks.start: 'id' must be a string")
        if arguments is None:
            arguments = {}
        elif type(arguments) is not dict:
            raise Refused(INVALID_PARAMS, "tasks.start: 'args' must be an object")
        template = self.served.environment.templates.get(task_id)
        if template is None:
            raise Refused(INVALID_PARAMS, f"unknown task: {task_id!r}")
        try:
            runner = Runner(template, arguments, slug=slug if isinstance(slug, str) else None)
        except BaseException as error:  # validators and decorators are the author's code, too
            raise Refused(TASK_ERROR, str(error) or type(error).__name__) from error
        self._begin(request_id, runner, grading=False)
        previous, self.runner = self.runner, None
        runner.start(self._started, self._loop, previous=previous)

    def _grade(self, request_id: Any, params: dict[str, Any]) -> None:
        runner = self.runner
        if runner is None:
            parked = self.server.adopt(params)
            if isinstance(parked, str):
                raise Refused(INVALID_REQUEST, parked)
            runner = parked.runner
            self._serve_from(parked.served)
        self.runner = None
        self._begin(request_id, runner, grading=True)
        runner.grade(self._graded, params.get("answer", MISSING))

    def _begin(self, request_id: Any, runner: Runner, *, grading: bool) -> None:
        self.call = runner
        self._call_id = request_id
        self._grading = grading
        self._interrupted_by = None

    def _started(self, runner: Runner, prompt: str | None, failure: str | None) -> bool:
        if self.call is not runner:
            return False  # abandoned after it outlived its cancellation; somebody else has answered
        if prompt is not None and self._interrupted_by is not None:
            prompt = None  # the template swallowed its cancellation
        if prompt is not None and len(prompt) > ROOMY:
            failure = oversize(self._call_id, prompt)
        keep = prompt is not None and failure is None
        if keep:
            self.runner = runner
        self._end(prompt, failure)
        return keep

    def _graded(self, runner: Runner, evaluation: str | None, failure: str | None) -> bool:
        if self.call is runner:
            if evaluation is not None and len(evaluation) > ROOMY:
                failure = oversize(self._call_id, evaluation)
            self._end(evaluation if self._interrupted_by is None else None, failure)
        return False

    def _end(self, result: str | None, failure: str | None) -> None:
        """A call is over: answer it, and do what waited for it."""
        self.call = None
        if failure is None and result is None and self._interrupted_by is not None:
            failure = f"{self._interrupted_by} interrupted the task"
        if failure is not None:
            self._error(self._call_id, TASK_ERROR, failure)
        elif result is not None:
            self._reply(self._call_id, result)
        if self._gone and not self._held:
            self._release()
            self.transport.close()

    def _stop(self, request_id: Any, method: str, result: str) -> None:
        """`tasks.cancel` and `bye`: stop this session's task, then answer; frames behind it wait."""
        if self.call is None and self.runner is None:
            self._stopped(request_id, method, result)
            return
        self._hold()
        self.server.keep(self._loop.create_task(self._run_stop(request_id, method, result)))

    async def _run_stop(self, request_id: Any, method: str, result: str) -> None:
        call = self.call
        if call is not None:
            self._interrupted_by = method
            call.task.cancel()
            await settle(call.task, "a cancelled task call")
            if self.call is call:  # it had not begun, or does not end
                self._end(None, None)
        runner, self.runner = self.runner, None
        if runner is not None:
            await runner.close()
        self._held = False
        self._stopped(request_id, method, result)
        if self._gone:
            self._release()
            self.transport.close()
        else:
            self._read_on()

    def _stopped(self, request_id: Any, method: str, result: str) -> None:
        self._reply(request_id, result)
        if method == "bye":
            self.transport.close()

    # Tunnels

    def _open_tunnel(self, request_id: Any, params: Any) -> None:
        self._hold()
        name = params.get("capability") if isinstance(params, dict) else None
        self.server.keep(self._loop.create_task(self._run_tunnel(request_id, name)))

    async def _run_tunnel(self, request_id: Any, name: Any) -> None:
        try:
            daemon = await self._dial(name)
        except Refused as error:
            self._error(request_id, error.code, str(error))
            self._end_session()
            self._hang_up()
            self.transport.resume_reading()
            return
        early, self._rest = self._rest, None
        self._end_session()
        if self.transport.is_closing():
            daemon.close()
            return
        self._reply(request_id, f'{{"capability":{encode(name)}}}')
        end = Splice(self.transport, self.server.strays)
        self.transport.set_protocol(end)
        if early:
            daemon.write(early)
        end.join(daemon)

    def _end_session(self) -> None:
        """A connection that became a tunnel, or should have, is no session any more."""
        self._held = False
        self._gone = True
        self._release()

    async def _dial(self, name: Any) -> Splice:
        if not isinstance(name, str):
            raise Refused(INVALID_PARAMS, "tunnel.open: 'capability' must be a string")
        try:
            capability = self.served.environment.capability(name)
        except KeyError:
            raise Refused(TASK_ERROR, f"\"unknown capability: '{name}'\"") from None
        where = address(capability)
        if where is None:
            raise Refused(INVALID_PARAMS, f"capability '{name}' has no host:port to tunnel to")
        try:
            return await dial(*where)
        except TimeoutError:
            raise Refused(TASK_ERROR, f"capability '{name}' at {where[0]}:{where[1]} does not answer") from None
        except (OSError, UnicodeError) as error:  # a name that cannot be a host's is a UnicodeError
            raise Refused(TASK_ERROR, str(error)) from error
