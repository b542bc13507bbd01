"""`hud task … --image` and `--container`: the same command, run inside a container through the engine's exec API."""

from __future__ import annotations

import json
import time

from hud.errors import HudError, RuntimeStartError
from hud_cli import output
from hud_cli.task import check_timeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Frame = dict[str, Any]

__all__ = ["grade", "run", "start"]

_KILLED = 137
_ENDING_S = 2.0


def start(
    task: str,
    *,
    args: str | None,
    image: str | None,
    container: str | None,
    run_args: Sequence[str],
    timeout_s: float | None,
) -> Frame:
    """Start a task in a container. A fresh one is left running, and its name is said on stderr."""
    words = _words("start", task, args, timeout_s)
    if image is None:
        return _exchange(container or "", words)
    with _Fresh(image, run_args, kept=True) as fresh:
        frame = _exchange(fresh.name, words, image=image)
        fresh.leave()
    output.note(f"Container: {fresh.name}")
    return frame


def grade(task: str, *, args: str | None, answer: str, container: str, timeout_s: float | None) -> Frame:
    """Grade the task that is parked in a container."""
    return _exchange(container, _words("grade", task, args, timeout_s), answer=answer)


def run(
    task: str,
    *,
    args: str | None,
    answer: str,
    image: str | None,
    container: str | None,
    run_args: Sequence[str],
    timeout_s: float | None,
) -> Frame:
    """Start and grade in a container; a fresh one is removed."""
    if image is None:
        return _exchange(container or "", _words("run", task, args, timeout_s), answer=answer)
    with _Fresh(image, run_args, kept=False) as fresh:
        # Nothing is parked in a fresh container, so `grade` starts the task, and images of the public SDK know it too.
        return _exchange(fresh.name, _words("grade", task, args, timeout_s), answer=answer, image=image)


class _Fresh:
    """A container for one exchange; it is removed on leaving, unless `leave` was called.

    Attributes:
        name: Its name.
    """

    def __init__(self, image: str, run_args: Sequence[str], *, kept: bool) -> None:
        self.image = image
        self.run_args = run_args
        self.kept = kept
        self.name = ""
        self._stays = False

    def __enter__(self) -> _Fresh:
        self.name = _engine().run_detached(self.image, kept=self.kept, run_args=list(self.run_args))
        return self

    def leave(self) -> None:
        """Leave the container running."""
        self._stays = True

    def __exit__(self, *_: object) -> None:
        if not self._stays:
            _engine().remove(self.name)


def _words(verb: str, task: str, args: str | None, timeout_s: float | None) -> list[str]:
    check_timeout(timeout_s)
    words = ["hud", "task", verb, "--json"]
    if args is not None:
        words += ["--args", args]
    if timeout_s is not None:
        words += ["--timeout", f"{timeout_s:g}"]
    if verb != "start":
        words += ["--answer-file", "-"]
    return [*words, "--", task]


def _exchange(container: str, words: list[str], *, answer: str | None = None, image: str | None = None) -> Frame:
    """Run one command in the container and give the frame it printed.

    Raises:
        HudError: what the command failed with, by its own kind, message, hint and exit code.
    """
    docker_engine = _engine()
    # An answer of megabytes fits no argument list.
    stdin = None if answer is None else answer.encode("utf-8", "surrogatepass")
    try:
        result = docker_engine.exec_in(container, words, stdin=stdin)
    except RuntimeStartError:
        _raise_if_ended(container, image)
        raise
    if result.stderr:
        output.note(result.stderr.decode(errors="replace").rstrip("\n"))
    try:
        frame = json.loads(result.stdout)
    except ValueError:
        frame = None
    if result.exit_code == 0 and isinstance(frame, dict):
        return frame
    # A container that ends kills what runs in it, a moment before the engine says that it has ended.
    _raise_if_ended(container, image, patience_s=_ENDING_S if result.exit_code == _KILLED else 0)
    if isinstance(frame, dict) and isinstance(frame.get("message"), str):
        raise _told(frame, result.exit_code)
    said = result.stdout.decode(errors="replace").strip()
    raise HudError(
        f"`{' '.join(words[:3])}` in container {container!r} ended with exit code {result.exit_code}"
        + (f" and printed no JSON: {said[:200]}" if said else " and printed nothing"),
        hint=f"docker exec {container} hud task list",
    )


def _raise_if_ended(container: str, image: str | None, *, patience_s: float = 0) -> None:
    """Say how a fresh container ended, with its last lines, when it did, or does within `patience_s`."""
    if image is None:
        return
    from hud.eval.runtimes.docker_launch import ContainerSpec, ended

    deadline = time.monotonic() + patience_s
    while (state := _engine().state(container)).running:
        if time.monotonic() >= deadline:
            return
        time.sleep(0.05)
    raise ended(ContainerSpec(image=image, name=container), state)


def _told(report: Frame, exit_code: int) -> HudError:
    """Give the error that the command inside reported."""
    suggestion = report.get("suggestion")
    hint = suggestion if isinstance(suggestion, str) else None
    error = HudError(report["message"], hint=hint, exit_code=exit_code)
    error.kind = str(report.get("error", error.kind))
    return error


def _engine() -> Any:
    """Import the engine's functions, which an image does not have."""
    try:
        import docker  # noqa: F401  # its absence is the question
    except ModuleNotFoundError as error:
        raise HudError(
            "--image and --container need the package docker, which is not installed here",
            hint="they are for a workstation: pip install hud-cli, with its dependencies",
        ) from error
    from hud.eval.runtimes import docker_engine

    return docker_engine
