"""What `hud deploy` shows of a folder before, and of its environment after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hud_cli import output

if TYPE_CHECKING:
    from hud.context import Problem
    from hud.platform.deployment import Deployment, Options, Plan

__all__ = ["document", "plan_document", "show_all", "show_plan", "show_problems", "show_summary"]

_MOST_SHOWN = 20


def show_problems(plan: Plan) -> None:
    """Say what is wrong with a folder, and what of it does not travel although nobody said so."""
    for problem in plan.problems:
        colour = "red" if problem.level == "error" else "yellow"
        output.note(f"{output.painted(f'{problem.level.capitalize()}:', colour)} {problem.message}")
        if problem.hint:
            output.note(f"  {problem.hint}")
    if left_out := plan.context.secrets_left_out:
        output.note(f"Left out because it holds credentials: {_some(left_out)}")


def plan_document(plan: Plan, *, variables: list[str], options: Options) -> dict[str, Any]:
    """Give what would be sent; of variables, arguments and secrets their names alone."""
    return {
        "name": plan.name,
        "folder": str(plan.folder),
        "recipe": plan.recipe.dockerfile,
        "dry_run": True,
        "files": [
            {"path": entry.path, "size_bytes": entry.size} for entry in plan.context.entries if entry.type == "file"
        ],
        "size_bytes": plan.context.size_bytes,
        "left_out": plan.context.left_out,
        "secrets_left_out": plan.context.secrets_left_out,
        "environment_variables": variables,
        "build_args": sorted(options.build_args),
        "build_secrets": sorted(options.build_secrets),
        "problems": [_plain(problem) for problem in plan.problems],
    }


def show_plan(plan: Plan, document: dict[str, Any]) -> None:
    """Show the files that would be sent with their sizes, and the rest in words."""
    for file in document["files"]:
        output.data(f"{file['size_bytes']:>14,}  {output.visible(file['path'])}\n")
    size = output.amount(plan.context.size_bytes)
    output.note(f"{plan.name}: {plan.files:,} files, {size}, built by {plan.recipe.dockerfile}. Nothing was sent.")
    lists = {
        "Left out": document["left_out"],
        "Variables": document["environment_variables"],
        "Build arguments": document["build_args"],
        "Build secrets": document["build_secrets"],
    }
    for title, items in lists.items():
        if items:
            output.note(f"{title}: {_some(items)}")


def document(ended: Deployment, *, web_url: str | None) -> dict[str, Any]:
    """Give what came of a deploy."""
    status, plan, sent = ended.status, ended.plan, ended.sent
    manifest = status.manifest
    return {
        "name": ended.name,
        "registry_id": ended.begun.registry_id,
        "build_id": ended.begun.id,
        "status": status.status,
        "version": status.version,
        "uri": status.uri,
        "digest": status.digest,
        "size_bytes": status.size_bytes,
        "duration_seconds": status.duration_seconds,
        "tasks": [task.id for task in manifest.tasks] if manifest else [],
        "capabilities": [capability.name for capability in manifest.capabilities] if manifest else [],
        "url": None if web_url is None else f"{web_url}/environments/{ended.begun.registry_id}",
        "context": {
            "digest": sent.digest,
            "files": plan.files,
            "bytes": plan.context.size_bytes,
            "sent_bytes": sent.sent_bytes,
        },
    }


def show_summary(document: dict[str, Any]) -> None:
    """Show what was registered."""
    size = document["size_bytes"]
    rows = [
        ("environment", f"{document['name']}, version {document['version']}"),
        ("image", document["uri"]),
        ("digest", document["digest"]),
        ("size", output.amount(size) if size is not None else None),
        ("tasks", ", ".join(document["tasks"])),
        ("address", document["url"]),
    ]
    output.data("".join(f"{name:<12} {output.visible(value)}\n" for name, value in rows if value))


def show_all(documents: list[dict[str, Any]]) -> None:
    """Show what became of each folder, one a line."""
    output.data(output.table([_row(document) for document in documents]))


def _row(document: dict[str, Any]) -> list[str]:
    if "error" in document:
        return [document["folder"], "failed", document["message"]]
    if "dry_run" in document:
        size = output.amount(document["size_bytes"])
        return [document["folder"], document["name"], f"{len(document['files']):,} files, {size}"]
    version = f"{document['name']}, version {document['version']}"
    return [document["folder"], version, document["digest"] or document["uri"] or ""]


def _plain(problem: Problem) -> dict[str, Any]:
    return {"level": problem.level, "message": problem.message, "hint": problem.hint}


def _some(items: list[str]) -> str:
    more = f" and {len(items) - _MOST_SHOWN:,} more" if len(items) > _MOST_SHOWN else ""
    return f"{', '.join(map(output.visible, items[:_MOST_SHOWN]))}{more}"
