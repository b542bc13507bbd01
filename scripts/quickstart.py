"""Scaffold an environment, build its image, run its tasks in containers, print their rewards, leave nothing behind.

Each task is answered by script, once right and once wrong, in two ways: with the commands that an image carries
(`docker exec … hud task start`, `… grade`), and from Python on `DockerRuntime`, a fresh container for each rollout.
Where no engine can be had, the same goes through `hud task run` and `SubprocessRuntime`.

Then the same folder goes to a platform of its own: `hud platform up`, `hud deploy`, `hud sync tasks`, `--check`,
`hud platform down`. It runs on a temporary folder and a free port, and no settings are touched.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hud import DockerRuntime, Run, SubprocessRuntime, Task, Taskset
from hud.eval import Provider

ROOT = Path(__file__).resolve().parent.parent
HUD = Path(sys.executable).with_name("hud")
NAME = "quickstart"


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A task of the scaffold with the answers that its environment should tell apart."""

    task: Task
    right: str
    wrong: str

    def answer(self, kind: str) -> str:
        return self.right if kind == "right" else self.wrong


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where tasks are answered: by a command, and by a runtime. `builder` builds images, where there is an engine."""

    command_name: str
    by_command: Callable[[Task, str], float]
    runtime_name: str
    runtime: Provider
    builder: Builder | None = None


@dataclass(frozen=True, kw_only=True)
class Builder:
    """A docker client with BuildKit, and a base image that its engine has."""

    client: str
    base: str


class Failed(Exception):
    """A step did not work; the message says which, and what it printed."""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    begun = time.monotonic()
    try:
        with _scaffold() as folder, _place(folder) as place:
            as_expected = _play(place, _scripted(folder))
            _deploy_and_sync(folder, place.builder)
    except Failed as failure:
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        say("interrupted; nothing is left behind")
        return 130
    say(f"done in {time.monotonic() - begun:.0f} s; nothing is left behind")
    return 0 if as_expected else 1


def say(text: str) -> None:
    print(f"quickstart: {text}", file=sys.stderr, flush=True)


def _run(
    command: list[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None, apart: bool = False
) -> str:
    """Run a command and give what it printed; `apart` from the terminal's signals, which docker takes even if blocked.

    Raises:
        Failed: it did not end with 0.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=apart,
    )
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()
        raise Failed(f"{Path(command[0]).name} {' '.join(map(str, command[1:]))} failed:\n{output[-2000:]}")
    return done.stdout.strip()


@contextmanager
def _scaffold() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hud-quickstart-") as parent:
        say(f"hud init {NAME}")
        _run([HUD, "init", NAME, "--template", "blank"], cwd=Path(parent))
        yield Path(parent) / NAME


def _scripted(folder: Path) -> list[Scripted]:
    """Give the scaffold's rows with their answers."""
    rows = Taskset.from_file(folder / "tasks.py")
    return [Scripted(task=row, right=_right_answer(row), wrong="I do not know") for row in rows]


_FIXES = {
    1: "return sum(numbers) / len(numbers)",
    2: "return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
    3: "if numbers[middle] < limit:",
}


def _right_answer(task: Task) -> str:
    if task.id == "count":
        return str(task.args["sentence"].lower().count(task.args["letter"].lower()))
    if task.id == "fix_bug":
        return _FIXES[task.args.get("difficulty", 1)]
    raise Failed(f"the quickstart has no answer for task {task.slug!r} of the scaffold")


def _script(*command: str) -> str | None:
    """Give what a script of the project printed, or None when it could not; what it says is shown as it says it."""
    done = subprocess.run(
        [ROOT / "scripts" / command[0], *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _place(folder: Path) -> AbstractContextManager[Place]:
    if _script("docker-engine", "up") is None:
        say("no Docker engine: running on SubprocessRuntime instead, each rollout in a Python process of its own")
        return _processes(folder)
    return _containers(folder)


@contextmanager
def _processes(folder: Path) -> Iterator[Place]:
    def by_command(task: Task, answer: str) -> float:
        arguments = ["--source", "env.py", "--args", json.dumps(task.args), "--answer", answer]
        return float(_run([HUD, "task", "run", task.id, *arguments], cwd=folder))

    yield Place(
        command_name="hud task run",
        by_command=by_command,
        runtime_name="SubprocessRuntime",
        runtime=SubprocessRuntime(folder / "env.py"),
    )


@contextmanager
def _containers(folder: Path) -> Iterator[Place]:
    """Build the image, and run the container that the commands are executed in."""
    client = _script("docker-engine", "client")
    base = _script("docker-engine", "base-image")
    if client is None or base is None:
        raise Failed("there is an engine, but no image can be built")
    image = f"hud-quickstart:{secrets.token_hex(4)}"
    container = image.replace(":", "-")

    def by_command(task: Task, answer: str) -> float:
        inside: list[str | Path] = [client, "exec", container, "hud", "task"]
        arguments = ["--args", json.dumps(task.args)]
        try:
            _run([*inside, "start", task.id, *arguments])
            return float(_run([*inside, "grade", task.id, *arguments, "--answer", answer]))
        except Failed as failure:
            logs = [client, "logs", "--tail", "20", container]
            subprocess.run(logs, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
            raise Failed(f"{failure}\nabove: the last lines of the container") from None

    build: list[str | Path] = [client, "build", "-f", "Dockerfile.hud", "--build-arg", f"BASE_IMAGE={base}"]
    with _removed([client, "image", "rm", "--force", image]):
        say(f"docker build -f Dockerfile.hud --build-arg BASE_IMAGE={base} -t {image} .")
        _run([*build, "-t", image, "."], cwd=folder, env={**os.environ, "DOCKER_BUILDKIT": "1"})
        with _removed([client, "rm", "--force", "--volumes", container]):
            say(f"docker run -d --name {container} {image}")
            with _uninterrupted():  # a client that dies half-way would leave a container that is not there yet
                _run([client, "run", "--detach", "--name", container, image], apart=True)
            yield Place(
                command_name="docker exec",
                by_command=by_command,
                runtime_name="DockerRuntime",
                runtime=DockerRuntime(image),
                builder=Builder(client=client, base=base),
            )


@contextmanager
def _removed(command: list[str | Path]) -> Iterator[None]:
    """Run a command at the end, whatever happens; what it would remove may not be there yet."""
    try:
        yield
    finally:
        with _uninterrupted(), suppress(Failed):
            _run(command, apart=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM, here and in what is started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _play(place: Place, scripted: list[Scripted]) -> bool:
    """Answer every task in both ways, print the rewards, and say whether each is what its answer deserves."""
    kinds = {"right": 1.0, "wrong": 0.0}
    say(f"{len(scripted)} tasks, each with a right and a wrong answer, by {place.command_name}")
    by_command = {
        (entry.task.slug, kind): place.by_command(entry.task, entry.answer(kind))
        for entry in scripted
        for kind in kinds
    }
    say(f"the same on {place.runtime_name}, from Python")
    by_runtime: dict[tuple[str, str], float] = {}
    for kind in kinds:
        by_runtime |= asyncio.run(_rewards(place.runtime, scripted, kind))

    width = max(len(entry.task.slug) for entry in scripted)
    print(f"{'task':{width}}  answer  {place.command_name:>14}  {place.runtime_name:>17}")
    as_expected = True
    for entry in scripted:
        for kind, deserved in kinds.items():
            key = entry.task.slug, kind
            mark = "" if by_command[key] == by_runtime[key] == deserved else f"   expected {deserved}"
            as_expected = as_expected and not mark
            print(f"{entry.task.slug:{width}}  {kind:6}  {by_command[key]:14.1f}  {by_runtime[key]:17.1f}{mark}")
    return as_expected


async def _rewards(runtime: Provider, scripted: list[Scripted], kind: str) -> dict[tuple[str, str], float]:
    answers = {entry.task.slug: entry.answer(kind) for entry in scripted}

    async def agent(run: Run) -> None:
        run.trace.content = answers[run.slug]

    job = await Taskset("quickstart", [entry.task for entry in scripted]).run(agent, runtime=runtime, max_concurrent=4)
    for run in job.errors:
        raise Failed(f"{run.slug}: {run.trace.error}")
    return {(run.slug, kind): run.reward for run in job.runs}


def _deploy_and_sync(folder: Path, builder: Builder | None) -> None:
    """Take the folder through the four commands of a platform, and say what each gave."""
    with _platform(folder, builder) as hud:
        if builder is None:
            say("no Docker engine: hud deploy is skipped, so the platform has no environment for the rows")
            refusal = _refused(hud, "sync", "tasks", NAME, "--yes")
            say(f"hud sync tasks {NAME} --yes: refused, as it has to be: {refusal}")
            return
        say(f"hud deploy --build-arg BASE_IMAGE={builder.base}")
        made = json.loads(hud("deploy", "--build-arg", f"BASE_IMAGE={builder.base}", "--json"))
        tasks = ", ".join(made["tasks"])
        say(f"    {made['name']}, version {made['version']}, {made['digest'][:19]}; it answered: {tasks}")
        say(f"hud sync tasks {NAME} --yes")
        synced = json.loads(hud("sync", "tasks", NAME, "--yes", "--json"))
        say(f"    {synced['tasks_created']} rows created, revision {synced['revision']}")
        say(f"hud sync tasks {NAME} --check")
        say(f"    {json.loads(hud('sync', 'tasks', NAME, '--check', '--json'))['status'].replace('_', ' ')}")


@contextmanager
def _platform(folder: Path, builder: Builder | None) -> Iterator[Callable[..., str]]:
    """Run a platform beside the folder, and give `hud` as somebody who has a key of it and no settings of his own."""
    data, home = folder.parent / "platform", folder.parent / "home"
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("HUD_")}
    env |= {"HOME": str(home), "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")}
    if builder is not None:  # where the platform finds it, too
        env["PATH"] = os.pathsep.join([str(Path(builder.client).parent), env.get("PATH", os.defpath)])

    def hud(*words: str) -> str:
        return _run([HUD, *words], cwd=folder, env=env)

    with _removed([HUD, "platform", "down", "--data", data]):
        say("hud platform up --detach --port 0 --data … --no-settings")
        up = json.loads(hud("platform", "up", "--detach", "--port=0", f"--data={data}", "--no-settings", "--json"))
        say(f"    ready at {up['url']}")
        env |= {"HUD_API_URL": up["url"], "HUD_API_KEY": up["key"]}
        try:
            yield hud
        finally:
            if builder is not None:
                _remove_images(hud, builder)
        say("hud platform down")


def _remove_images(hud: Callable[..., str], builder: Builder) -> None:
    """Remove what was built on the platform, also by a deploy that was interrupted."""
    with _uninterrupted(), suppress(Failed):
        images = [f"hud/{NAME}:{build}" for build in hud("build", "list", "--quiet").split()]
        _run([builder.client, "image", "rm", "--force", *images], apart=True)


def _refused(hud: Callable[..., str], *words: str) -> str:
    """Give the line in which a command says why it does not do what it was asked for."""
    try:
        hud(*words)
    except Failed as failure:
        return next((line for line in str(failure).splitlines() if line.startswith("Error: ")), str(failure))
    raise Failed(f"hud {' '.join(words)} was to be refused")


if __name__ == "__main__":
    sys.exit(main())
