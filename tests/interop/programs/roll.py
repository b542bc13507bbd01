"""Run whole rollouts with a scripted agent of the client's own kind; runs unchanged on both SDKs.

WHERE is the address of a served environment, or `docker:IMAGE`.

roll.py WHERE < {"answers": {text of the prompt: answer}, "jobs": [{"rows": file, "rollout_timeout_s": …}, …]}
            > [{"reward": …, "errors": …, "name": …, "runs": […]}, …]
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

from hud import DockerRuntime, Runtime, Taskset


def agent_kind() -> Any:
    """What agents derive from: a class of the public SDK; any async callable will do where there is none."""
    try:
        return importlib.import_module("hud.agents.base").Agent
    except ModuleNotFoundError:
        return object


Agent: Any = agent_kind()


class Scripted(Agent):  # type: ignore[misc]  # known when it runs
    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__()
        self.answers = answers

    async def __call__(self, run: Any) -> None:
        answer = self.answers.get(run.prompt_text)
        if answer == "raise":
            raise RuntimeError("the agent lost its way")
        run.trace.content = answer


def report(run: Any) -> dict[str, Any]:
    messages = [message if isinstance(message, dict) else message.model_dump() for message in run.prompt_messages]
    return {
        "slug": run.slug,
        "task": run.task_id,
        "runtime": run.runtime is not None,
        "prompt": run.prompt,
        "text": run.prompt_text,
        "roles": [message["role"] for message in messages],
        "bindings": run.bindings,
        "reward": run.reward,
        "is_error": run.grade.is_error,
        "done": run.grade.done,
        "content": run.grade.content,
        "info": run.grade.info,
        "evaluation": run.evaluation,
        "status": run.trace.status,
        "error": run.trace.error,
        "steps": [step.source for step in run.trace.steps],
    }


async def job(where: str, agent: Scripted, *, rows: str, rollout_timeout_s: float) -> dict[str, Any]:
    taskset = Taskset.from_file(rows)
    image = where.removeprefix("docker:")
    runtime: Any = DockerRuntime(image) if image != where else Runtime(where)
    done = await taskset.run(agent, runtime=runtime, max_concurrent=4, rollout_timeout=rollout_timeout_s)
    runs = [report(run) for run in done.runs]
    return {"reward": done.reward, "errors": len(done.errors), "name": done.name, "runs": runs}


async def main(where: str, answers: dict[str, Any], jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    agent = Scripted(answers)
    return [await job(where, agent, **order) for order in jobs]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], **json.load(sys.stdin)))))
