"""`hud doctor`: what is there, what is missing, and what to do about it, in one screen."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, TypeVar, assert_never

import typer

from hud.errors import DeadlineError, HudError, NotFoundError, UnreachableError
from hud.version import __version__
from hud_cli import output

__all__ = ["Finding", "doctor", "examine"]

_T = TypeVar("_T")
Status = Literal["ok", "warn", "missing", "broken"]

ENGINE_LIMIT_S = 10.0
PLATFORM_LIMIT_S = 3.0
LOW_DISK_BYTES = 5 * 10**9
LOW_MEMORY_BYTES = 2 * 10**9
DEPENDENCIES = ("typer", "rich", "docker", "httpx", "msgspec", "tomli", "watchfiles", "websockets")
"""The modules of the distributions that pyproject.toml names; `PLATFORM_DEPENDENCIES` those of the extra."""
PLATFORM_DEPENDENCIES = (
    *("aiosqlite", "alembic", "cryptography", "dbos", "httptools", "jsonschema_rs", "litestar", "obstore"),
    *("prometheus_client", "sqlalchemy", "uvicorn", *(() if sys.platform == "win32" else ("uvloop",))),
)

_NOT_READY = 503
_PLATFORM_HINT = "check HUD_API_URL, the network and its proxy"
_NO_LIMIT_BYTES = 1 << 60  # how cgroup v1 says that there is no limit: the largest page-aligned integer


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the screen.

    Attributes:
        status: "warn" works with less, "missing" is optional and absent, "broken" has to be mended.
        detail: What was seen.
        hint: What to do, or None.
    """

    name: str
    status: Status
    detail: str
    hint: str | None = None


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, errors included.")] = False,
) -> int:
    """Say what is there, what is missing, and what to do about it.

    Exits with 1 when something is broken that every command needs; a missing Docker engine is not: tasks run on
    local processes too. Asks nothing of the network, but the platform that a key or an address configures.
    """
    findings = []
    for finding in examine():
        findings.append(finding)
        if not json:
            _show(finding)
    broken = any(finding.status == "broken" for finding in findings)
    if json:
        output.document({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    return 1 if broken else 0


def examine() -> Iterator[Finding]:
    """Look at one thing after the other."""
    yield _python()
    yield _hud()
    yield _platform_extra()
    yield from _engine()
    yield _buildkit()
    yield _disk("disk here", Path.cwd())
    yield _memory()
    yield _cgroup()
    yield from _configured()


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    supported = sys.version_info >= (3, 11)
    return Finding(
        name="Python",
        status="ok" if supported else "broken",
        detail=f"{version}, {sys.executable}",
        hint=None if supported else "install Python 3.11 or newer",
    )


def _hud() -> Finding:
    absent = [name for name in DEPENDENCIES if find_spec(name) is None]
    return Finding(
        name="hud",
        status="broken" if absent else "ok",
        detail=f"{__version__}, {Path(__file__).resolve().parent.parent}"
        + (f"; lacks {', '.join(absent)}" if absent else ""),
        hint="pip install hud-cli, with its dependencies" if absent else None,
    )


def _platform_extra() -> Finding:
    absent = [name for name in PLATFORM_DEPENDENCIES if find_spec(name) is None]
    if not absent:
        return Finding(name="platform extra", status="ok", detail="hud platform runs here")
    return Finding(
        name="platform extra",
        status="missing",
        detail="not installed" if len(absent) == len(PLATFORM_DEPENDENCIES) else f"lacks {', '.join(absent)}",
        hint="only a platform on this machine needs it: pip install 'hud-cli[platform]'",
    )


def _engine() -> Iterator[Finding]:
    try:
        from hud.eval.runtimes import docker_engine

        info = _within(docker_engine.engine_info, limit_s=ENGINE_LIMIT_S)
    except (HudError, ModuleNotFoundError) as error:
        status: Status = "missing" if isinstance(error, UnreachableError | ModuleNotFoundError) else "warn"
        hint = getattr(error, "hint", None) or "pip install hud-cli, with its dependencies"
        yield Finding(name="Docker engine", status=status, detail=str(error), hint=hint)
        return
    rootless = ", rootless" if info.rootless else ""
    where = f"{info.endpoint.source} ({info.endpoint.url})"
    yield Finding(
        name="Docker engine",
        status="ok",
        detail=f"{info.version}, API {info.api_version}, {info.platform}{rootless}, {where}",
    )
    low = info.free_bytes is not None and info.free_bytes < LOW_DISK_BYTES
    free = "" if info.free_bytes is None else f", {_bytes(info.free_bytes)} free"
    yield Finding(
        name="Docker disk",
        status="warn" if low else "ok",
        detail=f"{info.root_folder} ({info.storage_driver}){free}",
        hint="docker system df; docker system prune; hud cleanup" if low else None,
    )
    small = 0 < info.memory_bytes < LOW_MEMORY_BYTES
    yield Finding(
        name="Docker limits",
        status="warn" if small else "ok",
        detail=f"{info.cpus} CPUs, {_bytes(info.memory_bytes)} memory, cgroup v{info.cgroup_version}",
        hint="give the engine more memory" if small else None,
    )


def _buildkit() -> Finding:
    hint = "install the buildx plug-in; without it docker build ignores secrets and cache mounts"
    try:
        from hud.eval.runtimes import docker_engine

        path = _within(docker_engine.build_client, limit_s=ENGINE_LIMIT_S)
    except (HudError, ModuleNotFoundError) as error:
        return Finding(name="BuildKit", status="missing", detail=str(error), hint=hint)
    if path is not None:
        return Finding(name="BuildKit", status="ok", detail=f"{path} builds with it")
    if shutil.which("docker") is None:
        return Finding(
            name="BuildKit",
            status="missing",
            detail="the docker command is not on the PATH",
            hint="install Docker's command-line client",
        )
    return Finding(name="BuildKit", status="warn", detail="no docker command on the PATH builds with it", hint=hint)


def _disk(name: str, folder: Path) -> Finding:
    free_bytes = shutil.disk_usage(folder).free
    low = free_bytes < LOW_DISK_BYTES
    return Finding(
        name=name,
        status="warn" if low else "ok",
        detail=f"{folder}, {_bytes(free_bytes)} free",
        hint="an image and its layers take gigabytes: make room" if low else None,
    )


def _memory() -> Finding:
    total_bytes, available_bytes = _memory_bytes()
    limit_bytes = _memory_limit_bytes()
    usable_bytes = min(value for value in (total_bytes, limit_bytes) if value is not None) if total_bytes else None
    small = usable_bytes is not None and usable_bytes < LOW_MEMORY_BYTES
    parts = [f"{os.cpu_count() or 1} CPUs"]
    if total_bytes is not None:
        parts.append(f"{_bytes(total_bytes)} memory")
    if available_bytes is not None:
        parts.append(f"{_bytes(available_bytes)} available")
    if limit_bytes is not None:
        parts.append(f"limited to {_bytes(limit_bytes)}")
    return Finding(
        name="machine",
        status="warn" if small else "ok",
        detail=", ".join(parts),
        hint="run few rollouts at once: max_concurrent=…" if small else None,
    )


def _memory_bytes() -> tuple[int | None, int | None]:
    facts = {}
    for line in _read("/proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if value.split() and value.split()[0].isdecimal():
            facts[key] = int(value.split()[0]) * 1024
    if facts:
        return facts.get("MemTotal"), facts.get("MemAvailable")
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    except (AttributeError, OSError, ValueError):
        return None, None


def _memory_limit_bytes() -> int | None:
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(path).strip()
        if text.isdecimal() and int(text) < _NO_LIMIT_BYTES:
            return int(text)
    return None


def _cgroup() -> Finding:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return Finding(name="cgroup", status="ok", detail="v2")
    if os.path.isdir("/sys/fs/cgroup"):
        return Finding(name="cgroup", status="ok", detail="v1")
    return Finding(name="cgroup", status="ok", detail=f"none on {sys.platform}")


def _configured() -> Iterator[Finding]:
    """Look at the key and at the platform that it is for."""
    from hud import settings

    try:
        found = settings.load()
    except HudError as error:
        yield Finding(name="platform", status="warn", detail=str(error), hint=error.hint)
        return
    key, url = found.api_key, found.api_url
    sources = {name: source for name, source in found.source_of.items() if source != settings.DEFAULT}
    yield Finding(
        name="API key",
        status="ok" if key else "missing",
        detail=f"HUD_API_KEY is set in {sources['HUD_API_KEY']}" if key else "HUD_API_KEY is not set",
        hint=None if key else "only a platform needs one: hud login, or hud platform up for one of your own",
    )
    if key is None and "HUD_API_URL" not in sources:
        yield Finding(
            name="platform",
            status="missing",
            detail="none is configured",
            hint="only deploying, syncing and hosted runs need one: hud platform up",
        )
        return
    try:
        detail = _within(lambda: _ask_platform(url, key), limit_s=PLATFORM_LIMIT_S, hint=_PLATFORM_HINT)
    except (HudError, ModuleNotFoundError) as error:
        hint = getattr(error, "hint", None) or _PLATFORM_HINT
        detail = str(error) if url in str(error) else f"{url}: {error}"
        yield Finding(name="platform", status="warn", detail=detail, hint=hint)
        return
    yield Finding(name="platform", status="ok", detail=f"{url}: {detail}")


def _ask_platform(url: str, key: str | None) -> str:
    """Give what a platform says of itself; one that is not of this project's says nothing, and answers.

    Raises:
        HudError: it does not answer, is not ready, or does not accept the key.
    """
    from contextlib import closing

    from hud.http import Http

    with closing(Http(key=key, retry_limit_s=0)) as http:
        ready = http.exchange("GET", f"{url}/ready", content=b"", headers={}, timeout_s=PLATFORM_LIMIT_S)
        parts = _parts(ready.body)
        if ready.status == _NOT_READY:
            wrong = ", ".join(f"{name}: {state}" for name, state in parts.items() if state != "ok")
            raise HudError(f"{url} is not ready{f' ({wrong})' if wrong else ''}", hint="hud platform logs")
        if key is None:
            return "answers"
        try:
            said = _parts(http.request("GET", f"{url}/v2/capabilities", timeout_s=PLATFORM_LIMIT_S).body)
        except NotFoundError:  # the public service has no such thing
            return "answers"
        if (engine := parts.get("engine", "ok")) != "ok":
            raise HudError(f"{url} is ready, but cannot build: {engine}", hint="start Docker on its machine")
        if "server" not in said:
            return "answers"
        return f"{said['server']} {said.get('version', '')} is ready and accepts the key"


def _parts(body: bytes) -> dict[str, str]:
    """Give the texts of a JSON object; nothing of what is none, such as a page for people."""
    import json

    try:
        document = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {name: value for name, value in document.items() if isinstance(value, str) and name != "status"}


def _within(function: Callable[[], _T], *, limit_s: float, hint: str = "docker info") -> _T:
    """Call what may hang, and go on without it after a while.

    Raises:
        DeadlineError: it took longer.
    """
    results: list[_T] = []
    errors: list[Exception] = []

    def call() -> None:
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001  # raised again by the caller
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not results:
        raise DeadlineError(f"no answer within {limit_s:g} s", hint=hint)
    return results[0]


def _show(finding: Finding) -> None:
    mark = f"{finding.status:<8}"
    output.data(f"{_painted(mark, finding.status)}{finding.name:<15}{finding.detail}\n")
    if finding.hint is not None and finding.status != "ok":
        output.data(f"{'':<23}{output.painted(finding.hint, 'dim', stream='stdout')}\n")


def _painted(text: str, status: Status) -> str:
    match status:
        case "ok":
            return output.painted(text, "green", stream="stdout")
        case "warn" | "missing":
            return output.painted(text, "yellow", stream="stdout")
        case "broken":
            return output.painted(text, "red", "bold", stream="stdout")
        case _:
            assert_never(status)


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""
