"""An environment as authors write it for the public SDK. Both implementations load this file unchanged.

Variables: INTEROP_JOURNAL is a file that templates append to; INTEROP_DAEMON is the port behind the capabilities.
"""

import asyncio
import dataclasses
import enum
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from hud import Environment
from hud.capabilities import Capability
from hud.environment import Answer, DataFileArg, DataFileRef, DataFilesArg, GradingArg, PromptArg
from hud.graders import EvaluationResult, SubScore

Steps = AsyncGenerator[Any, Any]

env = Environment("interop", version="1.2.3")

daemon = f"127.0.0.1:{os.environ.get('INTEROP_DAEMON', '9')}"
env.add_capability(Capability.ssh(url=f"ssh://{daemon}", host_pubkey="ssh-ed25519 AAAA", shell="bash"))
env.add_capability(Capability.mcp(url=f"http://{daemon}/mcp?key=1"))
env.add_capability(Capability.cdp(url=f"ws://{daemon}/devtools/browser/1"))
env.add_capability(Capability.rfb(name="desk", url=f"rfb://{daemon}", display=2))
env.add_capability(
    Capability.robot(url=f"ws://{daemon}", contract={"robot_type": "x", "control_rate": 10, "features": {}})
)


def note(line: str) -> None:
    with Path(os.environ.get("INTEROP_JOURNAL", os.devnull)).open("a") as journal:
        journal.write(line + "\n")


@env.initialize
async def begin() -> None:
    note("initialized")


@env.shutdown
async def end() -> None:
    note("shut down")


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Verdict(BaseModel):
    final: int
    why: str = ""


class Turn(BaseModel):
    role: str
    content: str


# Prompts


@env.template(description="Adds two numbers.")
async def add(a: int, b: int = 2) -> Steps:
    answer = yield f"What is {a}+{b}?"
    yield 1.0 if answer == str(a + b) else 0.0


PROMPTS: dict[str, Any] = {
    "text": "Grüße, 世界",
    "turns": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": {"type": "text", "text": "yo"}},
    ],
    "models": [Turn(role="user", content="hi")],
    "mapping": {"prompt": "p", "bindings": {"robot": {"token": "slot-0"}}, "extra": [7]},
    "mapping of turns": {"prompt": [{"role": "user", "content": "hi"}]},
    "nothing": None,
}


@env.template()
async def ask(form: str) -> Steps:
    answer = yield PROMPTS[form]
    yield {"score": 1.0, "answer": answer}


@env.template()
async def long(size: int) -> Steps:
    answer = yield "x" * size
    yield {"score": 1.0, "answered": len(answer), "content": answer}


# Evaluations


class Rewarded:
    reward = 0.125


EVALUATIONS: dict[str, Any] = {
    "number": 0.5,
    "integer": 1,
    "true": True,
    "beyond": -2.5,
    "mapping": {"score": 0.5, "info": {"k": [1, 2]}, "zzz": "extra"},
    "integer in a mapping": {"score": 1, "done": False},
    "rewarded": Rewarded(),
    "result": EvaluationResult(
        reward=0.75,
        content="nice",
        info={"a": 1},
        subscores=[
            SubScore(name="style", value=0.5, weight=0.5),
            SubScore(
                name="tests", value=1, weight=0.5, info={"passed": 3}, children=[SubScore(name="unit", value=1.0)]
            ),
        ],
    ),
    "result with extras": EvaluationResult(reward=1.0, zzz="extra"),
    "result of plain parts": EvaluationResult(reward=1.0, subscores=[{"name": "j", "value": 1, "metadata": {"k": 1}}]),
    "bare result": EvaluationResult(),
    "from a float": EvaluationResult.from_float(0.25),
    "failed": EvaluationResult(isError=True, content="the checker broke"),
    "text": "1.0",
    "mapping without score": {"reward": 1.0},
    "not a number": float("nan"),
}


@env.template()
async def rate(form: str) -> Steps:
    yield "rate it"
    yield EVALUATIONS[form]


# Arguments and answers


@env.template(input=Point)
async def typed(
    count: int,
    ratio: float = 0.5,
    *,
    flag: bool = False,
    mode: Literal["fast", "slow"] = "fast",
    tags: list[str] | None = None,
    table: dict[str, int] | None = None,
    point: Point | None = None,
    verdict: Verdict | None = None,
    color: Color = Color.RED,
    level: Annotated[int, Field(ge=1, le=3)] = 1,
    _private: int = 0,
) -> Steps:
    yield repr([count, ratio, flag, mode, tags, table, point, verdict and verdict.final, color.value, level])
    yield 1.0


@env.template()
async def positional(count: int, /) -> Steps:
    yield str(count)
    yield 1.0


@env.template(id="any", description="Takes what comes.")
async def takes_anything(first, second=None, **rest) -> Steps:  # type: ignore[no-untyped-def]  # as authors do
    yield repr([first, second, rest])
    yield 1.0


@env.template()
async def hinted(
    question: PromptArg,
    file: DataFileArg[DataFileRef],
    files: DataFilesArg[DataFileRef],
    criteria: GradingArg[str],
) -> Steps:
    yield f"{question} {file.file_id} {file.path} {[each.path for each in files]} {criteria}"
    yield 1.0


@env.template(returns=Verdict)
async def judge() -> Steps:
    answer: Answer[Verdict] = yield "Answer with JSON."
    content = answer.content
    shown = content.model_dump() if isinstance(content, Verdict) else content
    yield {"score": 1.0, "content": shown, "kind": type(content).__name__, "raw": answer.raw}


@env.template(returns=list[int])
async def numbers() -> Steps:
    answer: Answer[list[int]] = yield "Answer with numbers."
    yield {"score": 1.0, "content": answer.content, "raw": answer.raw}


# Failures


@env.template()
async def fail(where: str) -> Steps:
    if where == "start":
        raise ValueError("boom at start")
    yield "wait for it"
    raise KeyError("boom at grade")


@env.template()
async def one_yield() -> Steps:
    yield "and that was it"


# Lifetimes


@env.template()
async def slow(tag: str, start_s: float = 0.0, grade_s: float = 0.0) -> Steps:
    try:
        note(f"started {tag}")
        await asyncio.sleep(start_s)
        answer = yield tag
        await asyncio.sleep(grade_s)
        yield {"score": 1.0, "tag": tag, "answer": answer}
    finally:
        note(f"closed {tag}")


@env.template()
async def verify(share: float = 0.5) -> Steps:
    frame = yield "for no agent"
    yield {"score": frame["score"] * share, "of": frame}
