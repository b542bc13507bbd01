"""`hud client info` and `hud client run`: the older spellings that scripts still use."""

from __future__ import annotations

import os

from hud.wire import TOKEN_VARIABLE
from hud_cli import output
from hud_cli.placement import URL_TIMEOUT_S, Place, connect
from hud_cli.task import arguments_of, check_timeout, read_answer, show_evaluation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["info", "run"]


def info(*, url: str, timeout: float | None, token: str | None, json: bool) -> int:
    """Show what a served environment says of itself."""
    with _place(url, timeout_s=timeout, token=token) as place:
        hello = place.channel.hello
        rows = place.task_rows()
    env = hello.get("env")
    env = env if isinstance(env, dict) else {}
    bindings = hello.get("bindings")
    bindings = [item for item in bindings if isinstance(item, dict)] if isinstance(bindings, list) else []
    if json:
        shown = [{key: binding.get(key) for key in ("name", "protocol", "url")} for binding in bindings]
        output.document({"env": env, "capabilities": shown, "tasks": rows})
        return 0
    lines = [f"{env.get('name', 'environment')} {env.get('version', '')}".rstrip(), "", "Tasks:"]
    lines += [f"  {row.get('id')}  {_parameters(row)}  {row.get('description') or ''}".rstrip() for row in rows]
    lines += [] if rows else ["  none"]
    lines += ["", "Capabilities:"]
    lines += [f"  {binding.get('name')}  {binding.get('protocol')}" for binding in bindings] or ["  none"]
    output.data("\n".join(lines) + "\n")
    return 0


def run(
    *,
    task: str,
    url: str,
    args: str | None,
    answer: str | None,
    answer_file: str | None,
    timeout: float | None,
    token: str | None,
    json: bool,
) -> int:
    """Start a task, grade an answer on it, and print the reward."""
    arguments = arguments_of(args)
    text = read_answer(answer, answer_file)
    with _place(url, timeout_s=timeout, token=token) as place:
        frame = place.run(task, arguments, text)
    show_evaluation(frame, out=None, as_json=json)
    return 0


def _place(url: str, *, timeout_s: float | None, token: str | None) -> Place:
    check_timeout(timeout_s)
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    return Place(connect(url, timeout_s=timeout_s or URL_TIMEOUT_S, token=token))


def _parameters(row: dict[str, Any]) -> str:
    schema = row.get("args")
    schema = schema if isinstance(schema, dict) else {}
    properties = schema.get("properties")
    required = schema.get("required") or []
    if not isinstance(properties, dict) or not properties:
        return "()"
    shown = [name if name in required else f"{name}={properties[name].get('default')!r}" for name in properties]
    return f"({', '.join(shown)})"
