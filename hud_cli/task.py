"""`hud task list`, `start`, `grade` and `run`: results on stdout as callers parse them, everything else on stderr."""

from __future__ import annotations

import json as json_module

from hud.errors import UsageError
from hud_cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hud_cli.placement import Place

    Frame = dict[str, Any]

__all__ = ["arguments_of", "check_timeout", "grade", "list_tasks", "read_answer", "run", "show_evaluation", "start"]


def list_tasks(*, source: str, quiet: bool, json: bool) -> int:
    """Print the rows of a source; the channel is never asked."""
    from hud.environment.source import collect_tasks

    output.keep_stdout()
    tasks = collect_tasks(source)
    if json:
        output.document([{"slug": task.slug, "id": task.id, "args": task.args} for task in tasks])
    elif quiet:
        output.data("".join(f"{task.slug}\n" for task in tasks))
    else:
        rows = [f"{task.slug}\t{task.id}" + (f" {json_module.dumps(task.args)}" if task.args else "") for task in tasks]
        output.data("".join(f"{row}\n" for row in rows))
    if not tasks:
        import os

        output.note(f"No tasks in {os.path.abspath(source)}")
    return 0


def start(
    *,
    task: str,
    source: str | None,
    url: str | None,
    args: str | None,
    out: str | None,
    image: str | None,
    container: str | None,
    run_arg: list[str],
    timeout: float | None,
    token: str | None,
    json: bool,
) -> int:
    """Start a task and print its prompt."""
    arguments = arguments_of(args)
    _refuse_mixed(source=source, url=url, image=image, container=container, run_arg=run_arg)
    output.keep_stdout()
    if image is not None or container is not None:
        from hud_cli import container as containers

        frame = containers.start(task, args=args, image=image, container=container, run_args=run_arg, timeout_s=timeout)
    else:
        with _place(task, source=source, url=url, timeout_s=timeout, token=token) as place:
            frame = place.start(task, arguments)
            if place.ends_with_us:
                output.note("The task ended with this command; to grade an answer: hud task run, or hud serve first.")
    prompt = frame.get("prompt", frame)
    _show(frame, prompt if isinstance(prompt, str) else json_module.dumps(prompt), out=out, as_json=json)
    return 0


def grade(
    *,
    task: str,
    source: str | None,
    url: str | None,
    args: str | None,
    answer: str | None,
    answer_file: str | None,
    out: str | None,
    container: str | None,
    timeout: float | None,
    token: str | None,
    json: bool,
) -> int:
    """Grade an answer against the parked run of a task, or a new one, and print the score."""
    arguments = arguments_of(args)
    _refuse_mixed(source=source, url=url, container=container)
    text = read_answer(answer, answer_file)
    output.keep_stdout()
    if container is not None:
        from hud_cli import container as containers

        frame = containers.grade(task, args=args, answer=text, container=container, timeout_s=timeout)
    else:
        with _place(task, source=source, url=url, timeout_s=timeout, token=token) as place:
            frame = place.grade(task, arguments, text)
    show_evaluation(frame, out=out, as_json=json)
    return 0


def run(
    *,
    task: str,
    source: str | None,
    url: str | None,
    args: str | None,
    answer: str | None,
    answer_file: str | None,
    out: str | None,
    image: str | None,
    container: str | None,
    run_arg: list[str],
    timeout: float | None,
    token: str | None,
    json: bool,
) -> int:
    """Start a task, grade an answer on it, and print the score."""
    arguments = arguments_of(args)
    _refuse_mixed(source=source, url=url, image=image, container=container, run_arg=run_arg)
    text = read_answer(answer, answer_file)
    output.keep_stdout()
    if image is not None or container is not None:
        from hud_cli import container as containers

        frame = containers.run(
            task, args=args, answer=text, image=image, container=container, run_args=run_arg, timeout_s=timeout
        )
    else:
        with _place(task, source=source, url=url, timeout_s=timeout, token=token) as place:
            frame = place.run(task, arguments, text)
    show_evaluation(frame, out=out, as_json=json)
    return 0


def arguments_of(text: str | None) -> Frame | None:
    """Read --args; None when it was not given.

    Raises:
        UsageError: it is not JSON, or not an object (CC-62).
    """
    if text is None:
        return None
    try:
        value = json_module.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--args must be valid JSON: {error}", hint="""--args '{"name": "value"}'""") from None
    if not isinstance(value, dict):
        raise UsageError(
            f"--args must be a JSON object, got {_json_kind(value)}", hint="""--args '{"name": "value"}'"""
        )
    return value


def read_answer(answer: str | None, answer_file: str | None) -> str:
    """Give the answer to grade: text as given, or a file's content byte for byte.

    Raises:
        UsageError: both are given, or the file cannot be read or is not UTF-8.
    """
    if answer_file is None:
        return answer or ""
    if answer is not None:
        raise UsageError("--answer and --answer-file exclude each other")
    if answer_file == "-":
        if output.is_interactive():
            output.note("Reading the answer from the terminal; Ctrl-D ends it.")
        content, name = output.read_stdin(), "standard input"
    else:
        name = answer_file
        try:
            with open(answer_file, "rb") as file:
                content = file.read()
        except OSError as error:
            raise UsageError(f"cannot read {answer_file}: {error.strerror}") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8 text: byte 0x{content[error.start]:02x} at offset {error.start}",
            hint="an answer is text; encode binary data, with base64 for example",
        ) from None


def show_evaluation(frame: Frame, *, out: str | None, as_json: bool) -> None:
    """Print the score of an evaluation, or all of it."""
    _show(frame, json_module.dumps(frame.get("score", frame)), out=out, as_json=as_json)


def check_timeout(timeout_s: float | None) -> None:
    """Refuse a wait that is none.

    Raises:
        UsageError: it is not a positive, finite number.
    """
    if timeout_s is not None and not 0 < timeout_s < float("inf"):
        raise UsageError(f"--timeout is a positive number of seconds, got {timeout_s:g}")


def _place(task: str, *, source: str | None, url: str | None, timeout_s: float | None, token: str | None) -> Place:
    from hud_cli.placement import place

    check_timeout(timeout_s)
    return place(task, source=source, url=url, timeout_s=timeout_s, token=token)


def _show(frame: Frame, text: str, *, out: str | None, as_json: bool) -> None:
    if out is not None:
        _write_file(out, json_module.dumps(frame, indent=2))
    if as_json:
        output.document(frame)
    elif out is None:
        output.data(text + "\n")


def _write_file(path: str, text: str) -> None:
    """Write beside and rename, so that a reader never sees half of it; parent folders are made."""
    import os

    from hud.errors import HudError

    beside = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if os.path.exists(path) and not os.path.isfile(path):  # /dev/stdout, a named pipe
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return
        try:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(beside, path)
        except BaseException:
            if os.path.exists(beside):
                os.unlink(beside)
            raise
    except OSError as error:
        raise HudError(f"cannot write {path}: {error.strerror}") from error


def _refuse_mixed(
    *,
    source: str | None,
    url: str | None,
    image: str | None = None,
    container: str | None = None,
    run_arg: list[str] | None = None,
) -> None:
    if image is not None and container is not None:
        raise UsageError("--image and --container exclude each other")
    if (image is not None or container is not None) and (source is not None or url is not None):
        raise UsageError("--image and --container take no --source or --url: the container holds the environment")
    if run_arg and image is None:
        raise UsageError("--run-arg goes with --image")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _json_kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
