"""Every provider over one source, for the contract they share; and what a test has left running.

The source is one file, `ENVIRONMENT`. Files beside it change its behaviour: `slow-start` makes the initialize hook
wait until it is stopped, `slow-stop` makes the shutdown hook take as many seconds as it says.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hud.environment.source import load_environment
from hud.eval.runtimes import Provider, Runtime, opened
from hud.eval.runtimes.local import LocalRuntime
from hud.eval.runtimes.process import SubprocessRuntime
from hud.eval.runtimes.shared import Shared
from hud.eval.task import Task

MARK = "HUD_TEST_MARK"
"""A variable that a test's processes inherit, by which they are found."""

ENVIRONMENT = """
import asyncio
import os
import socket
import time
from pathlib import Path

from hud import Environment

env = Environment("contract")
other = Environment("other")
here = Path(__file__).parent
seen = []


@env.initialize
async def wait_to_start():
    if (here / "slow-start").exists():
        (here / "starting").touch()
        await asyncio.sleep(3600)


@env.shutdown
async def wait_to_stop():
    if (here / "slow-stop").exists():
        await asyncio.sleep(float((here / "slow-stop").read_text()))
        (here / "stopped").touch()


@env.template()
async def add(a: int = 1, b: int = 2):
    answer = yield f"What is {a} + {b}?"
    yield 1.0 if answer == str(a + b) else 0.0


@env.template()
async def count():
    seen.append(None)
    yield str(len(seen))
    yield 1.0


@env.template()
async def where():
    yield f"{socket.gethostname()} {os.getpid()}"
    yield 1.0


@env.template()
async def remember(secret: str):
    here_only.append(secret)
    await asyncio.sleep(0.05)
    answer = yield "Say it."
    await asyncio.sleep(0.05)
    yield 1.0 if answer == secret == here_only[-1] and len(here_only) == 1 else 0.0


here_only = []


@env.template()
async def say(prompt: list | str | dict | None = None):
    yield prompt
    yield 1.0


@env.template()
async def fail(phase: str):
    if phase == "start":
        raise ValueError("the dog ate the prompt")
    yield "Whatever."
    raise ValueError("the dog ate the answer")


@env.template()
async def misgrade(score: float | str | None = None):
    yield "Whatever."
    if score is None:
        return
    yield float(score)


@env.template()
async def leave(phase: str):
    if phase == "start":
        os._exit(7)
    yield "Whatever."
    os._exit(7)


@env.template()
async def wait(phase: str, mark: str | None = None):
    async def forever():
        if mark is not None:
            Path(mark).touch()
        await asyncio.sleep(3600)

    if phase == "start":
        await forever()
    yield "Take your time."
    if phase == "grade":
        await forever()
    yield 1.0


@env.template()
async def block(seconds: float):
    time.sleep(seconds)
    yield "That took long."
    yield 1.0


@env.template()
async def halve():
    actor = yield "For no agent."
    yield {"score": actor["score"] / 2, "info": {"actor": actor["score"]}}


@other.template()
async def add(a: int = 1, b: int = 2):
    yield "The other one."
    yield 0.25
"""


@dataclass(kw_only=True)
class Place:
    """A provider on a source of its own.

    Attributes:
        fresh: Whether each rollout gets a substrate of its own.
        process: Whether that substrate is a process, so that rollouts cannot stall one another.
        chooses: Whether it serves the environment that the row names.
        folder: Holds the source; None when the substrate does not share this machine's files.
    """

    provider: Provider
    fresh: bool = True
    process: bool = True
    chooses: bool = True
    folder: Path | None = None


Open = Callable[[Path], AbstractAsyncContextManager[Place]]


def write_source(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "env.py"
    source.write_text(ENVIRONMENT)
    return source


@asynccontextmanager
async def _live(folder: Path) -> AsyncIterator[Place]:
    environment = load_environment(write_source(folder), name="contract")
    yield Place(provider=LocalRuntime(environment, width=8), fresh=False, process=False, chooses=False, folder=folder)


@asynccontextmanager
async def _path(folder: Path) -> AsyncIterator[Place]:
    yield Place(provider=LocalRuntime(write_source(folder)), folder=folder)


@asynccontextmanager
async def _built(folder: Path) -> AsyncIterator[Place]:
    source = write_source(folder)
    yield Place(
        provider=LocalRuntime(lambda task: load_environment(source, name=task.env)), process=False, folder=folder
    )


@asynccontextmanager
async def _subprocess(folder: Path) -> AsyncIterator[Place]:
    yield Place(provider=SubprocessRuntime(write_source(folder)), folder=folder)


@asynccontextmanager
async def _url(folder: Path) -> AsyncIterator[Place]:
    async with served(write_source(folder), "contract") as runtime:
        yield Place(provider=runtime, fresh=False, process=False, chooses=False, folder=folder)


@asynccontextmanager
async def _shared(folder: Path) -> AsyncIterator[Place]:
    shared = Shared(LocalRuntime(write_source(folder)), width=8)
    yield Place(provider=shared, fresh=False, process=False, folder=folder)


@asynccontextmanager
async def _function(folder: Path) -> AsyncIterator[Place]:
    source = write_source(folder)

    @asynccontextmanager
    async def provider(task: Task) -> AsyncIterator[Runtime]:
        async with served(source, task.env) as runtime:
            yield runtime

    yield Place(provider=provider, folder=folder)


@asynccontextmanager
async def served(source: Path, name: str) -> AsyncIterator[Runtime]:
    """Serve a source as any user would from Python: a process, its readiness line, and its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hud.environment.server", str(source), "--env", name),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        if not (line := await process.stdout.readline()):
            raise LookupError(name)
        yield Runtime(f"tcp://127.0.0.1:{int(line.removeprefix(b'HUD_SERVE_PORT='))}")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


LOCAL: dict[str, Open] = {
    "live": _live,
    "path": _path,
    "callable": _built,
    "subprocess": _subprocess,
    "url": _url,
    "shared": _shared,
    "function": _function,
}
"""How to open each provider that needs nothing but this machine."""


def row(template: str, *, env: str = "contract", **args: object) -> Task:
    return Task(env, template, args)


@dataclass
class Phases:
    """A provider that says when a rollout comes and goes."""

    provider: Provider
    provisioning: asyncio.Event = field(default_factory=asyncio.Event)
    releasing: asyncio.Event = field(default_factory=asyncio.Event)
    urls: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def __call__(self, task: Task) -> AsyncIterator[Runtime]:
        self.provisioning.set()
        async with self.provider(task) as runtime:
            self.urls.append(runtime.url)
            yield runtime
            self.releasing.set()

    async def __aenter__(self) -> Phases:
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(opened(self.provider))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()


def marked(mark: str) -> dict[int, str]:
    """The processes that inherited a mark, with their command lines; zombies are not among them."""
    wanted = f"{MARK}={mark}".encode()
    return {
        pid: _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        for pid in _pids()
        if pid != os.getpid() and wanted in _read(pid, "environ").split(b"\0")
    }


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def left_running(mark: str, *, within_s: float = 1.0) -> dict[int, str]:
    """The marked processes that are still there after so many seconds; none as soon as there is none.

    What was killed is there for a moment longer.
    """
    deadline = time.monotonic() + within_s
    while (found := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


async def reached(mark: Path, *, within_s: float = 30.0) -> None:
    """Wait until a file is there."""
    async with asyncio.timeout(within_s):
        while not mark.exists():  # noqa: ASYNC110  another process makes it
            await asyncio.sleep(0.005)


def accepts(url: str) -> bool:
    """Whether something accepts at a URL."""
    import socket

    host, port = url.removeprefix("tcp://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
