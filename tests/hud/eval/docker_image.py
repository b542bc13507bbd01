"""The image that the Docker tests run: this checkout's served side and an environment that fails in many ways."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from hud.eval.runtimes import docker_engine, ownership
from hud.eval.task import Task

ENVIRONMENT = """
import os
import subprocess
import sys

from hud.environment import Environment

env = Environment("contained")


@env.template()
async def add(a: int = 1, b: int = 2):
    answer = yield f"What is {a} + {b}?"
    yield 1.0 if answer == str(a + b) else 0.0


@env.template()
async def shell(command: str):
    yield subprocess.run(command, shell=True, capture_output=True, text=True).stdout
    yield 1.0


@env.template()
async def leave(code: int):
    yield "about to end"
    print("the server says goodbye", flush=True)
    os._exit(code)


@env.template()
async def hog():
    yield "about to fill the memory"
    hoard = []
    while True:
        hoard.append(os.urandom(1 << 20) * 8)
    yield len(hoard)
"""

DOCKERFILE = """
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
COPY *.whl /tmp/
RUN python3 -m pip install --no-index --no-deps --no-cache-dir --break-system-packages /tmp/*.whl
COPY env.py /app/env.py
CMD ["python3", "-m", "hud.environment.server", "/app/env.py", "--host", "0.0.0.0", "--port", "8765"]
"""


def write_folder(folder: Path, wheel: Path) -> Path:
    """Fill a folder that builds the image."""
    (folder / "Dockerfile.hud").write_text(DOCKERFILE)
    (folder / "env.py").write_text(ENVIRONMENT)
    (folder / wheel.name).write_bytes(wheel.read_bytes())
    return folder


def variant(image: str, *command: str) -> str:
    """Give the tag of the same image with another command; the caller removes it."""
    name, tag = docker_engine.container_name(), f"hud-test-{secrets.token_hex(6)}"
    client = docker_engine.engine()
    client.create_container(image, name=name)
    try:
        client.commit(name, tag, changes=[f"CMD {json.dumps(command)}"])
    finally:
        docker_engine.remove(name)
    return tag


def row(template: str, **args: object) -> Task:
    return Task("contained", template, args)


def own_containers(owner: str | None = None) -> list[str]:
    """The names of the containers, running or not, of this process or another."""
    owner = owner or ownership.owner_label()
    listed = docker_engine.list_labelled(ownership.OWNER_LABEL)
    return [container.name for container in listed if container.labels[ownership.OWNER_LABEL] == owner]
