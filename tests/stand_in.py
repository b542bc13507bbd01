"""A stand-in of the public service: the smallest replies that the platform API specification lists (section 17).

It costs money and cannot be reached from here, so this is what the client is tested against. It has none of our
platform's extensions (`/v2/capabilities` is a 404), records every request, and can be told to misbehave: scripted
replies come before its own, in order.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["DROP", "PublicService", "Request", "Scripted", "serve"]

KEY = "sk-hud-public-test"
USER = "11111111-1111-4111-8111-111111111111"
TEAM = "22222222-2222-4222-8222-222222222222"
FRAMES: tuple[dict[str, Any], ...] = (
    {"type": "status", "message": "Connected to build logs"},
    {"type": "status_update", "status": "IN_PROGRESS"},
    {"type": "log", "message": "#1 [internal] load build definition\n", "timestamp": 1760000000000},
    {"type": "complete", "message": "Build SUCCEEDED", "final_status": "SUCCEEDED"},
)
SUCCEEDED: dict[str, Any] = {
    "status": "SUCCEEDED",
    "version": 4,
    "uri": "registry.test/letter-env:4",
    "manifest": {"tasks": [{"id": "count"}], "capabilities": [{"name": "shell"}]},
}
_ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What arrived; `path` is without its query."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A reply that was ordered.

    Attributes:
        body: Sent as it is when it is bytes, else as JSON; None is an empty one.
        delay_s: Waited before it.
        drop: Close the connection instead: "before" the body is read, "after" it, or in the "middle" of the reply.
        acted: Do what the request asks for before this reply takes the place of its own, as when a reply is lost.
    """

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: str | None = None
    acted: bool = False


DROP = Scripted(drop="after")


class PublicService:
    """What the service knows and does; everything may be changed while it runs.

    Attributes:
        requests: Everything that arrived, in order.
        uploads: The archives that were put, by build id.
        statuses: What `/builds/{id}/status` answers, one after the other; the last for ever.
        frames: What the log socket sends: objects as JSON, text and bytes as they are.
        log_ends_after: The number of frames after which the socket ends early.
        log_cut_bytes: The number of bytes of the frames' stream after which the connection is cut.
        log_close: The close code of the end; None cuts the connection without one.
        log_status: The status that refuses the upgrade, such as 404; None accepts.
        tasksets: Name and export records by slug, by taskset id.
        device_errors: What device login answers before it gives the key.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = KEY
        self.identity: dict[str, Any] = {"user_id": USER, "team_id": TEAM}
        self.requests: list[Request] = []
        self.projects: list[dict[str, Any]] = []
        self.environments: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.triggers: dict[str, Any] = {}
        self.statuses: list[dict[str, Any]] = [{"status": "IN_PROGRESS"}, SUCCEEDED]
        self.frames: Sequence[object] = FRAMES
        self.frame_delay_s = 0.0
        self.log_ends_after: int | None = None
        self.log_cut_bytes: int | None = None
        self.log_close: int | None = 1000
        self.log_status: int | None = None
        self.log_connections = 0
        self.tasksets: dict[str, dict[str, Any]] = {}
        self.device: dict[str, Any] = {
            "device_code": "dev-1",
            "user_code": "WDJB-MJHT",
            "expires_in": 600,
            "interval": 1,
        }
        self.device_errors: list[str] = []
        self._scripts: list[tuple[str, re.Pattern[str], list[Scripted], bool]] = []
        self._lock = threading.Lock()

    @property
    def variables(self) -> dict[str, str]:
        """The process environment of a client that uses this service."""
        return {"HUD_API_KEY": self.key, "HUD_API_URL": self.url}

    def script(self, method: str, path: str, *replies: Scripted, always: bool = False) -> None:
        """Answer the next requests of a method, to paths that match a pattern, with these replies.

        Args:
            always: Repeat the last one for ever.
        """
        with self._lock:
            self._scripts.append((method, re.compile(path), list(replies), always))

    def calls(self, method: str, path: str = ".*") -> list[Request]:
        """Give the requests of a method whose path matches a pattern."""
        with self._lock:
            return [
                request for request in self.requests if request.method == method and re.fullmatch(path, request.path)
            ]

    def add_project(self, name: str, *, create: bool = True, default: bool = False) -> str:
        """Add a project and give its id."""
        project = {"id": str(uuid.uuid4()), "name": name, "is_default": default, "capabilities": {"create": create}}
        self.projects.append(project)
        return str(project["id"])

    def add_environment(self, name: str) -> str:
        """Add an environment to the registry and give its id."""
        identifier = str(uuid.uuid4())
        self.environments[identifier] = {"id": identifier, "name": name, "latest_build": {"version": 1}}
        return identifier

    def add_taskset(self, name: str, records: Sequence[dict[str, Any]] = (), *, project_id: str | None = None) -> str:
        """Add a taskset with export records and give its id."""
        identifier = str(uuid.uuid4())
        rows = {record["name"]: record for record in records}
        self.tasksets[identifier] = {"name": name, "rows": rows, "project_id": project_id}
        return identifier

    def scripted(self, request: Request) -> Scripted | None:
        """Give the ordered reply for a request, if there is one."""
        with self._lock:
            self.requests.append(request)
            for method, pattern, replies, always in self._scripts:
                if method == request.method and pattern.fullmatch(request.path) and replies:
                    return replies[0] if always and len(replies) == 1 else replies.pop(0)
        return None

    def drops_before_body(self, method: str, path: str) -> bool:
        """Whether the next reply is ordered to be a connection that is cut before the body is read."""
        with self._lock:
            for scripted_method, pattern, replies, _ in self._scripts:
                if scripted_method == method and pattern.fullmatch(path) and replies:
                    return replies[0].drop == "before"
        return False

    def answer(self, request: Request) -> tuple[int, object]:
        """Give the status and the body of the service's own reply."""
        with self._lock:
            if request.path.startswith("/store/"):
                self.uploads[request.path.removeprefix("/store/")] = request.body
                return 200, None
            if request.path.startswith("/auth/device/"):
                return self._device(request)
            if request.headers.get("authorization") != f"Bearer {self.key}":
                return 401, {"detail": "Invalid API key"}
            for method, pattern, handler in _ROUTES:
                match = re.fullmatch(pattern, request.path)
                if match and method == request.method:
                    return handler(self, request, *(unquote(group) for group in match.groups()))
            return 404, {"detail": "Not Found"}

    def _device(self, request: Request) -> tuple[int, object]:
        if request.path.endswith("/code"):
            return 200, {"verification_uri": f"{self.url}/device", **self.device}
        if self.device_errors:
            return 400, {"detail": {"error": self.device_errors.pop(0)}}
        return 200, {"api_key": self.key, "user": {"email": "ada@example.com"}, "team": {"name": "Engines"}}

    def _me(self, _: Request) -> tuple[int, object]:
        return 200, self.identity

    def _list_projects(self, request: Request) -> tuple[int, object]:
        wanted = request.query.get("search", [""])[0]
        return 200, _page([row for row in self.projects if wanted in row["name"]], request)

    def _get_project(self, _: Request, identifier: str) -> tuple[int, object]:
        found = [row for row in self.projects if _same(row["id"], identifier)]
        return (200, found[0]) if found else (404, {"detail": "Project not found"})

    def _create_project(self, request: Request) -> tuple[int, object]:
        name = re.sub(r"[^a-z0-9]+", "-", request.json["name"].lower()).strip("-")
        if any(row["name"] == name for row in self.projects):
            return 409, {"detail": f"A project named {name} already exists"}
        self.add_project(name)
        return 200, self.projects[-1]

    def _list_environments(self, request: Request) -> tuple[int, object]:
        wanted = request.query.get("search", [""])[0]
        return 200, _page([row for row in self.environments.values() if wanted in row["name"]], request)

    def _get_environment(self, _: Request, identifier: str) -> tuple[int, object]:
        found = [row for key, row in self.environments.items() if _same(key, identifier)]
        return (200, found[0]) if found else (404, {"detail": "Environment not found"})

    def _upload_url(self, _: Request) -> tuple[int, object]:
        build = str(uuid.uuid4())
        return 200, {"build_id": build, "upload_url": f"{self.url}/store/{build}?sig=s3cr3t-signature"}

    def _trigger(self, request: Request) -> tuple[int, object]:
        body = request.json
        if body["build_id"] not in self.uploads:
            return 400, {"detail": "The upload of this build is not complete"}
        name = re.sub(r"[\s_]+", "-", body["name"].strip().lower())
        known = [key for key, row in self.environments.items() if row["name"] == name]
        registry = body.get("registry_id") or (known[0] if known else self.add_environment(name))
        self.triggers[body["build_id"]] = body
        return 200, {"id": body["build_id"], "registry_id": registry}

    def _status(self, _: Request, _build: str) -> tuple[int, object]:
        return 200, self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def _taskset_by_name(self, _: Request, name: str) -> tuple[int, object]:
        found = [key for key, row in self.tasksets.items() if row["name"] == name]
        return (200, {"taskset_id": found[0], "name": name}) if found else (404, {"detail": "Taskset not found"})

    def _get_taskset(self, _: Request, identifier: str) -> tuple[int, object]:
        key = next((key for key in self.tasksets if _same(key, identifier)), None)
        if key is None:
            return 404, {"detail": "Taskset not found"}
        row = self.tasksets[key]
        return 200, {"id": key, "name": row["name"], "project_id": row["project_id"], "can_edit": True}

    def _export(self, _: Request, identifier: str) -> tuple[int, object]:
        row = next((row for key, row in self.tasksets.items() if _same(key, identifier)), None)
        if row is None:
            return 404, {"detail": "Taskset not found"}
        return 200, {"name": row["name"], "tasks": list(row["rows"].values())}

    def _create_taskset(self, request: Request) -> tuple[int, object]:
        key = self.add_taskset(request.json["name"], project_id=request.json.get("project_id"))
        return self._get_taskset(request, key)

    def _upload_tasks(self, request: Request) -> tuple[int, object]:
        body = request.json
        key = body.get("taskset_id")
        if key is None:
            known = [key for key, row in self.tasksets.items() if row["name"] == body["taskset_name"]]
            key = known[0] if known else self.add_taskset(body["taskset_name"], project_id=body.get("project_id"))
        if key not in self.tasksets:
            return 404, {"detail": "Taskset not found"}
        rows = self.tasksets[key]["rows"]
        created = sum(task["name"] not in rows for task in body["tasks"])
        for task in body["tasks"]:
            rest = {name: value for name, value in task.items() if name not in ("env", "task_id")}
            rows[task["name"]] = {**rest, "env": task["env"]["name"], "scenario": task["task_id"]}
        updated = len(body["tasks"]) - created
        return 200, {"taskset_id": key, "tasks_created": created, "tasks_updated": updated}


_ID = "([^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., tuple[int, object]]], ...] = (
    ("GET", "/v2/auth/me", PublicService._me),
    ("GET", "/v2/projects", PublicService._list_projects),
    ("POST", "/v2/projects", PublicService._create_project),
    ("GET", f"/v2/projects/{_ID}", PublicService._get_project),
    ("GET", "/v2/registry", PublicService._list_environments),
    ("GET", f"/v2/registry/{_ID}", PublicService._get_environment),
    ("POST", "/v2/builds/upload-url", PublicService._upload_url),
    ("POST", "/v2/builds/trigger", PublicService._trigger),
    ("GET", f"/v2/builds/{_ID}/status", PublicService._status),
    ("GET", f"/v2/tasksets/by-name/{_ID}", PublicService._taskset_by_name),
    ("GET", f"/v2/tasksets/{_ID}", PublicService._get_taskset),
    ("GET", f"/v2/tasksets/{_ID}/export", PublicService._export),
    ("POST", "/v2/tasksets", PublicService._create_taskset),
    ("POST", "/v2/tasks/upload", PublicService._upload_tasks),
)


def _page(rows: Sequence[object], request: Request) -> dict[str, object]:
    limit = int(request.query.get("limit", ["100"])[0])
    offset = int(request.query.get("offset", ["0"])[0])
    return {"items": rows[offset : offset + limit], "total": len(rows)}


def _same(one: str, other: str) -> bool:
    """Whether two ids are one, dashed or not (PA-03)."""
    return one.replace("-", "").lower() == other.replace("-", "").lower()


@contextmanager
def serve() -> Iterator[PublicService]:
    """Run a service on a free loopback port in threads of this process."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.service = PublicService(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.service
    finally:
        server.shutdown()
        server.close_connections()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    service: PublicService
    daemon_threads = False
    block_on_close = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def close_connections(self) -> None:
        for connection in self._open:
            _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._do()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815  # the names that http.server calls

    def _do(self) -> None:
        service = self.server.service
        parts = urlsplit(self.path)
        body = b"" if service.drops_before_body(self.command, parts.path) else self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, path=parts.path, query=parse_qs(parts.query), headers=headers, body=body)
        scripted = service.scripted(request)
        if scripted is not None:
            self._scripted(scripted, request)
        elif headers.get("upgrade", "").lower() == "websocket":
            self._log_socket(request)
        else:
            status, document = service.answer(request)
            self._send(status, document, {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _scripted(self, reply: Scripted, request: Request) -> None:
        if reply.acted:
            self.server.service.answer(request)
        time.sleep(reply.delay_s)
        if reply.drop in ("before", "after"):
            self.close_connection = True
            _cut(self.connection)
            return
        if reply.drop == "middle":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            self.close_connection = True
            _cut(self.connection)
            return
        self._send(reply.status, reply.body, reply.headers)

    def _send(self, status: int, document: object, headers: Mapping[str, str]) -> None:
        body = document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
        self.send_response_only(status)  # without a Date, so that a script may have one
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _log_socket(self, request: Request) -> None:
        service = self.server.service
        self.close_connection = True
        if service.log_status is not None:
            self._send(service.log_status, {"detail": "Not Found"}, {})
            return
        service.log_connections += 1
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + _ACCEPT).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        if request.query.get("api_key") != [service.key]:
            self._close(4003)
            return
        left = service.log_cut_bytes
        for frame in service.frames[: service.log_ends_after]:
            time.sleep(service.frame_delay_s)
            content = _frame(frame)
            self.wfile.write(content[:left])
            if left is not None and (left := left - len(content)) <= 0:
                _cut(self.connection)
                return
        self._close(service.log_close)

    def _close(self, code: int | None) -> None:
        """Close with a code and wait for the other side's close; without one, cut."""
        if code is not None:
            self.wfile.write(_framed(0x88, struct.pack("!H", code)))
            self.connection.settimeout(2)
            try:
                while (received := self.connection.recv(4096)) and received[0] & 0x0F != 8:
                    pass  # up to the other side's close frame, after which a server ends the connection
            except OSError:
                pass
        _cut(self.connection)

    def log_message(self, *_: object) -> None:
        """Nothing goes to a test's output."""


def _frame(frame: object) -> bytes:
    if isinstance(frame, bytes):
        return _framed(0x82, frame)
    return _framed(0x81, (frame if isinstance(frame, str) else json.dumps(frame)).encode())


def _framed(kind: int, content: bytes) -> bytes:
    if len(content) < 126:
        return bytes((kind, len(content))) + content
    if len(content) < 1 << 16:
        return bytes((kind, 126)) + struct.pack("!H", len(content)) + content
    return bytes((kind, 127)) + struct.pack("!Q", len(content)) + content


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
