"""Deploy to a running platform as the public client does: an archive, a trigger, the log, the status."""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import subprocess
import tarfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from hud.context import pack
from hud.context.manifest import VERSION, File, Manifest
from tests.bench import base_image, require_docker
from tests.platform_process import PlatformProcess

__all__ = [
    "FROM_BASE",
    "Watched",
    "deploy",
    "end_of",
    "files_of",
    "new_name",
    "register",
    "send_missing",
    "served",
    "start_context_build",
    "trigger",
    "upload",
    "watch",
]

FROM_BASE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"

_SERVED = """
import os
from hud.environment import Environment

env = Environment("served")

@env.template(description="Add two numbers.")
async def add(a: int, b: int = 2):
    answer = yield f"What is {a} + {b}?"
    yield 1.0 if answer == str(a + b) else 0.0
"""


def served(wheel: Path, *, steps: str = "", source: str = _SERVED) -> dict[str, bytes]:
    """Give the files of an environment that builds, with further steps in its Dockerfile, and serves a task `add`."""
    dockerfile = f"""{FROM_BASE}
COPY *.whl /tmp/
RUN python3 -m pip install --no-index --no-deps --no-cache-dir --break-system-packages /tmp/*.whl
{steps}
COPY env.py /app/env.py
CMD ["python3", "-m", "hud.environment.server", "/app/env.py", "--host", "0.0.0.0", "--port", "8765"]
"""
    return {
        "Dockerfile.hud": dockerfile.encode(),
        "env.py": source.encode(),
        wheel.name: wheel.read_bytes(),
    }


def files_of(dockerfile: str) -> dict[str, bytes]:
    """Give a context that is a Dockerfile on the bench's base image."""
    return {"Dockerfile.hud": (FROM_BASE + dockerfile).encode()}


def upload(platform: PlatformProcess, files: Mapping[str, bytes]) -> str:
    """Send a context archive and give its build's id."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    ticket = platform.client.post("/v2/builds/upload-url").raise_for_status().json()
    put = httpx.put(ticket["upload_url"], content=packed.getvalue(), headers={"Content-Type": "application/gzip"})
    put.raise_for_status()
    build_id: str = ticket["build_id"]
    return build_id


_begun: list[str] = []


@atexit.register
def _remove_images() -> None:
    """Leave no image behind: the platforms that made them are gone by now, and nothing else knows their names."""
    if _begun:
        client = require_docker()
        asked = [client, "images", "--filter", "label=hud.environment.id", "--format", "{{.Repository}}:{{.Tag}}"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
        ours = [image for image in found if image.rpartition(":")[2] in _begun]
        if ours:
            subprocess.run([client, "image", "rm", "--force", *ours], capture_output=True, check=False)


def trigger(platform: PlatformProcess, build_id: str, name: str, **fields: Any) -> httpx.Response:
    """Ask for a build as the public client does; the reply may be a refusal."""
    _begun.append(build_id)
    arguments = {"BASE_IMAGE": base_image(), **fields.pop("build_args", {})}
    body = {"source": "direct", "build_id": build_id, "name": name, "no_cache": False, "build_args": arguments}
    return platform.client.post("/v2/builds/trigger", json={**body, **fields})


def register(platform: PlatformProcess, files: Mapping[str, bytes]) -> str:
    """Send the manifest of a context, and give its digest; its chunks are not sent."""
    entries = [
        File(path=name, mode=0o644, size=len(content), chunks=(hashlib.sha256(content).hexdigest(),))
        for name, content in sorted(files.items())
    ]
    headers = {"Content-Type": "application/vnd.hud.manifest+json"}
    content = Manifest(version=VERSION, entries=tuple(entries)).encode()
    reply = platform.client.post("/v2/contexts", content=content, headers=headers).raise_for_status()
    digest: str = reply.json()["digest"]
    return digest


def send_missing(platform: PlatformProcess, digest: str, files: Mapping[str, bytes]) -> int:
    """Send the chunks that the platform lacks of a context, and give how many there were."""
    missing = platform.client.get(f"/v2/contexts/{digest}").raise_for_status().json()["missing"]
    by_digest = {hashlib.sha256(content).hexdigest(): content for content in files.values()}
    packed = b"".join(pack.write((each, by_digest[each]) for each in missing))
    headers = {"Content-Type": "application/vnd.hud.blobs"}
    if missing:
        platform.client.post("/v2/blobs", content=packed, headers=headers).raise_for_status()
    return len(missing)


def start_context_build(platform: PlatformProcess, build_id: str, name: str, digest: str) -> httpx.Response:
    """Ask for the build of a context; the reply may be a refusal."""
    _begun.append(build_id)
    body = {"build_id": build_id, "name": name, "context_digest": digest, "build_args": {"BASE_IMAGE": base_image()}}
    return platform.client.post("/v2/builds", json=body)


@dataclass(kw_only=True)
class Watched:
    """What a watcher of a log saw: its frames in order, and how the socket was closed."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None

    @property
    def text(self) -> str:
        """Every message, one a line."""
        return "\n".join(frame["message"] for frame in self.frames if "message" in frame)

    @property
    def numbers(self) -> list[int]:
        """The frames' numbers, of those that have one."""
        return [frame["seq"] for frame in self.frames if "seq" in frame]


def watch(
    platform: PlatformProcess,
    build_id: str,
    *,
    key: str | None = None,
    bearer: str | None = None,
    cursor: int | None = None,
    until: str | None = None,
) -> Watched:
    """Follow a build's log to its end, or until a message holds a text."""
    query = [f"api_key={platform.key if key is None else key}"] if bearer is None else []
    query += [] if cursor is None else [f"cursor={cursor}"]
    address = f"{platform.url.replace('http', 'ws', 1)}/v2/builds/{build_id}/logs?{'&'.join(query)}"
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    seen = Watched()
    with connect(address, additional_headers=headers, max_size=1 << 20, compression=None) as socket:
        try:
            while True:
                seen.frames.append(json.loads(socket.recv(timeout=55)))
                if until is not None and until in seen.frames[-1].get("message", ""):
                    return seen
        except ConnectionClosed as closed:
            seen.close_code = closed.rcvd.code if closed.rcvd else None
    return seen


def end_of(platform: PlatformProcess, build_id: str) -> dict[str, Any]:
    """Wait for a build's end and give its status."""
    watch(platform, build_id)
    status: dict[str, Any] = platform.client.get(f"/v2/builds/{build_id}/status").raise_for_status().json()
    return status


def deploy(platform: PlatformProcess, files: Mapping[str, bytes], name: str, **fields: Any) -> dict[str, Any]:
    """Build a context under a name and give how it ended, with the build's `id` beside."""
    build_id = upload(platform, files)
    trigger(platform, build_id, name, **fields).raise_for_status()
    return {"id": build_id, **end_of(platform, build_id)}


def new_name() -> str:
    """Give a name that no other environment has."""
    return f"env-{uuid.uuid4().hex[:8]}"
