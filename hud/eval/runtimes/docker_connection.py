"""Reach the container engine that the `docker` command reaches, and say in our words what it answers.

The `docker` package is imported on first use: `import hud` does without it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hud.errors import DeadlineError, HudError, NotFoundError, RuntimeStartError, UnreachableError, UsageError

if TYPE_CHECKING:
    from docker import APIClient

__all__ = [
    "CALL_TIMEOUT_S",
    "INSTALL_HINT",
    "SERVE_HINT",
    "Endpoint",
    "EngineSize",
    "build_client",
    "cannot_run",
    "disconnect",
    "docker_command",
    "endpoint",
    "engine",
    "engine_size",
    "explain",
    "translated",
]

CALL_TIMEOUT_S = 180
"""How long one call to the engine may take. Starting a container on a machine that starts fifty takes a minute."""

_OLDEST_API = "1.24"  # the SDK's least; only the unversioned call is made with it

INSTALL_HINT = "install hud in the image: see the Dockerfile.hud that `hud init` writes"
SERVE_HINT = 'end Dockerfile.hud with CMD ["hud", "serve", …], as `hud init` shows'

_DEFAULT_URL = "npipe:////./pipe/docker_engine" if os.name == "nt" else "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Endpoint:
    """Where the engine listens.

    Attributes:
        url: `unix://…`, `npipe://…`, `tcp://host:port` or `ssh://…`.
        source: What chose it: "DOCKER_HOST", "context NAME" or "default".
        tls: The client's certificates (a `docker.tls.TLSConfig`), or None.
    """

    url: str
    source: str
    tls: Any = None

    @property
    def is_local(self) -> bool:
        """Whether a port published on the engine's loopback is on ours."""
        parts = urlsplit(self.url)
        if parts.scheme in ("unix", "http+unix", "npipe"):
            return True
        return parts.scheme != "ssh" and (parts.hostname or "").lower() in ("localhost", "127.0.0.1", "::1")

    @property
    def is_plain_socket(self) -> bool:
        """Whether its connections are sockets that can be closed in one direction."""
        return self.tls is None and urlsplit(self.url).scheme in ("unix", "http+unix", "tcp", "http")


def endpoint() -> Endpoint:
    """Find the engine as the `docker` command does: DOCKER_HOST, DOCKER_CONTEXT, the current context, the default.

    Raises:
        UsageError: The chosen context does not exist or names no engine.
    """
    if url := os.environ.get("DOCKER_HOST"):
        return Endpoint(url, "DOCKER_HOST", _tls_from_environment(url))
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name

    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if name == "default":
        return Endpoint(_DEFAULT_URL, "default")
    context = ContextAPI.get_context(name)
    if context is None or not context.Host:
        raise UsageError(f"the docker context {name!r} does not exist or names no engine", hint="docker context ls")
    return Endpoint(context.Host, f"context {name}", context.TLSConfig)


def _tls_from_environment(url: str) -> Any:
    """DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, which the `docker` command reads beside DOCKER_HOST."""
    if urlsplit(url).scheme not in ("tcp", "https") or not (
        os.environ.get("DOCKER_TLS_VERIFY") or os.environ.get("DOCKER_CERT_PATH")
    ):
        return None
    from docker.errors import TLSParameterError
    from docker.utils import kwargs_from_env

    try:
        return kwargs_from_env().get("tls")
    except TLSParameterError as error:
        folder = os.environ.get("DOCKER_CERT_PATH") or "~/.docker"
        raise UsageError(
            f"there are no client certificates in {folder} for the Docker engine at {url}",
            hint="point DOCKER_CERT_PATH at the folder of ca.pem, cert.pem and key.pem",
        ) from error


_clients: dict[tuple[int, str, str], APIClient] = {}
_clients_lock = threading.Lock()
_sizes: dict[str, EngineSize] = {}


def engine() -> APIClient:
    """Give the client of the engine's API, one a process and endpoint; threads may share it.

    Raises:
        UnreachableError: No engine answers there.
    """
    where = endpoint()
    key = (os.getpid(), where.url, where.source)
    with _clients_lock:
        client = _clients.get(key)
        if client is None:
            with translated():
                _knock(where)
                client = _client(where, _OLDEST_API)
                try:
                    version = client.version(api_version=False)["ApiVersion"]
                finally:
                    client.close()
                client = _client(where, version)
            _clients[key] = client
        return client


def _client(where: Endpoint, api_version: str) -> APIClient:
    import docker

    client = docker.APIClient(
        base_url=where.url,
        tls=where.tls or False,
        version=api_version,
        timeout=CALL_TIMEOUT_S,
        use_ssh_client=True,
        max_pool_size=64,
    )
    # Else REQUESTS_CA_BUNDLE takes the place of the certificate authority that the user named for this engine.
    client.trust_env = False
    return client


@dataclass(frozen=True)
class EngineSize:
    """The processors and the memory of the engine's machine; 0 where it does not say."""

    cpus: int
    memory_bytes: int


def engine_size() -> EngineSize:
    """Give the size of the engine's machine, asked once for each endpoint."""
    url = endpoint().url
    size = _sizes.get(url)
    if size is None:
        with translated():
            facts = engine().info()
        size = _sizes[url] = EngineSize(int(facts.get("NCPU") or 0), int(facts.get("MemTotal") or 0))
    return size


def _knock(where: Endpoint) -> None:
    """See whether anything listens at a socket's path: the SDK loses its socket, and the reason, when nothing does."""
    parts = urlsplit(where.url)
    if parts.scheme in ("unix", "http+unix"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocker:
            knocker.settimeout(CALL_TIMEOUT_S)
            knocker.connect(parts.netloc + parts.path)


def disconnect() -> None:
    """Close the clients that `engine` made; the next call makes new ones."""
    with _clients_lock:
        clients = list(_clients.values())
        _clients.clear()
        _sizes.clear()
    for client in clients:
        client.close()


@contextmanager
def translated(*, image: str | None = None, container: str | None = None) -> Iterator[None]:
    """Turn what the engine's client raises into this project's errors, naming the image or container at hand."""
    import requests
    from docker import errors

    try:
        yield
    except errors.APIError as error:
        raise explain(str(error.explanation or error), image=image, container=container) from error
    except errors.DockerException as error:
        # Raised around a connection that failed (the SDK keeps its cause in words only), or for a bad endpoint.
        raise _unreachable(str(error)) from error
    except requests.exceptions.Timeout as error:
        raise DeadlineError(
            f"the Docker engine at {endpoint().url} did not answer within {CALL_TIMEOUT_S} s", hint="docker info"
        ) from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise _unreachable(str(error)) from error


def _unreachable(detail: str) -> UnreachableError:
    where = endpoint()
    lowered = detail.lower()
    if "permission denied" in lowered:
        return UnreachableError(
            f"this user may not use the Docker engine at {where.url}",
            hint="sudo usermod -aG docker $USER, then log in again",
        )
    if "ssh" in urlsplit(where.url).scheme and shutil.which("ssh") is None:
        return UnreachableError(f"the Docker engine at {where.url} needs the ssh command", hint="install OpenSSH")
    if "ssl" in lowered or "certificate" in lowered:
        return UnreachableError(
            f"the Docker engine at {where.url} ({where.source}) and this client do not trust each other: {detail}",
            hint="check DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or the context's certificates",
        )
    return UnreachableError(
        f"no Docker engine answers at {where.url} ({where.source})",
        hint="start Docker, or point DOCKER_HOST at a running engine (Podman's socket works too)",
    )


def explain(text: str, *, image: str | None = None, container: str | None = None) -> HudError:
    """Give the error for what an engine or the `docker` command said, with a hint where the remedy is known."""
    text = text.strip()
    for prefix in ("docker: ", "Error response from daemon: ", "Error: "):
        text = text.removeprefix(prefix)
    text = text.partition("\n\nRun 'docker")[0].partition("\nSee 'docker")[0].strip().rstrip(".")
    lowered = text.lower()
    if image is not None and ("no such image" in lowered or "image not known" in lowered or "pull access" in lowered):
        return NotFoundError(
            f"no image named {image!r} on this engine",
            hint=f"docker build -f Dockerfile.hud -t {image} .   (or: docker pull {image})",
        )
    if container is not None and ("no such container" in lowered or "no container with" in lowered):
        return NotFoundError(f"no container named {container!r} on this engine", hint="docker ps -a")
    if container is not None and ("is not running" in lowered or "on running containers" in lowered):
        return RuntimeStartError(f"container {container!r} is not running", hint=f"docker logs {container}")
    if "is already in use by" in lowered and "name" in lowered:
        return UsageError(f"the name {container or text!r} is taken by another container", hint="docker ps -a")
    if "no space left on device" in lowered or "disk quota exceeded" in lowered:
        return RuntimeStartError(f"the Docker engine's disk is full: {text}", hint="docker system df; hud cleanup")
    if "executable file not found" in lowered or ("exec:" in lowered and "no such file or directory" in lowered):
        return cannot_run(image, _tail(text))
    if "could not select device driver" in lowered or "unresolvable cdi devices" in lowered:
        return RuntimeStartError(
            f"the Docker engine has no GPU support: {text}", hint="install the NVIDIA Container Toolkit"
        )
    if any(words in lowered for words in ("range of cpus", "minimum memory limit", "unable to set memory limit")):
        return UsageError(f"the Docker engine cannot give what was asked for: {text}")
    if "unknown flag" in lowered or "unknown shorthand flag" in lowered or "invalid argument" in lowered:
        return UsageError(f"`docker run` refuses the run_args: {text.splitlines()[0]}", hint="docker run --help")
    return RuntimeStartError(f"the Docker engine refused: {text or 'no reason given'}")


def cannot_run(image: str | None, said: str) -> RuntimeStartError:
    """Give the error for an image whose command is not in it."""
    return RuntimeStartError(f"image {image!r} cannot run its command: {said}", hint=INSTALL_HINT)


def _tail(text: str) -> str:
    """The part of a runtime's nested message that names the command."""
    at = text.find("exec: ")
    return text[at + len("exec: ") :].removesuffix(": unknown") if at >= 0 else text


def docker_command() -> str:
    """Give the path of the `docker` command.

    Raises:
        NotFoundError: There is none on the PATH.
    """
    path = shutil.which("docker")
    if path is None:
        raise NotFoundError("the docker command is not on the PATH", hint="install Docker's command-line client")
    return path


def build_client() -> str | None:
    """Give the path of the first `docker` command on the PATH that builds with BuildKit, or None.

    Clients from 18.09 to 22 have it inside (with DOCKER_BUILDKIT=1), later ones need the buildx plug-in.
    """
    for folder in os.get_exec_path():
        path = os.path.join(folder, "docker")
        if not os.access(path, os.X_OK):
            continue
        if _answer(path, "buildx", "version") is not None:
            return path
        major = (_answer(path, "version", "--format", "{{.Client.Version}}") or "").partition(".")[0]
        if major.isdecimal() and 18 < int(major) < 23:
            return path
    return None


def _answer(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # `docker version` fails without an engine but prints the client's version all the same.
    return done.stdout.strip() if done.returncode == 0 or command[1] == "version" else None
