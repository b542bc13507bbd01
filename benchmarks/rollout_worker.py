"""A process that runs rollouts with whichever `hud` it imports, this project's or the public SDK's.

Each line on its standard input asks for one measurement, `{"what": …, "count": n, "concurrency": n, "image": …}`; each
is answered by a line `SECONDS_EACH=…`, the wall-clock time of one rollout. It stands in the folder of env.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

sys.path.insert(0, ".")

from env import add, env  # type: ignore[import-not-found]  # of the folder it stands in

from hud import DockerRuntime, LocalRuntime, SubprocessRuntime

try:
    from hud.agents.base import Agent  # type: ignore[import-not-found]  # the public SDK takes nothing else
except ImportError:
    Agent = object

_MESSAGES = (
    b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{}}\n',
    b'{"jsonrpc":"2.0","id":2,"method":"tasks.start","params":{"id":"add","args":{"a":4}}}\n',
    b'{"jsonrpc":"2.0","id":3,"method":"tasks.grade","params":{"answer":"6"}}\n',
)


class Scripted(Agent):  # type: ignore[misc]  # one of two bases
    """An agent that knows the answer."""

    async def __call__(self, run: Any) -> None:
        run.trace.content = "6"


async def _rollouts(runtime: Any, count: int, concurrency: int) -> float:
    begun = time.perf_counter()
    job = await add(a=4).run(Scripted(), runtime=runtime, group=count, max_concurrent=concurrency)
    took_s = time.perf_counter() - begun
    if len(job.runs) != count or job.reward != 1.0:
        raise RuntimeError(f"{len(job.runs)} runs, reward {job.reward}: {[run.trace.error for run in job.runs][:3]}")
    return took_s / count


async def _by_hand(count: int) -> float:
    """Drive sessions over a plain socket, one after another, against a server in this process."""
    async with LocalRuntime(env)(add(a=4)) as served:
        host, port = served.url.removeprefix("tcp://").split(":")
        begun = time.perf_counter()
        for _ in range(count):
            reader, writer = await asyncio.open_connection(host, int(port))
            reply: dict[str, Any] = {}
            for message in _MESSAGES:
                writer.write(message)
                reply = json.loads(await reader.readline())
            if reply["result"]["score"] != 1.0:
                raise RuntimeError(reply)
            writer.close()
        return (time.perf_counter() - begun) / count


def _runtime(request: dict[str, Any]) -> Any:
    match request["what"]:
        case "live":
            return LocalRuntime(env)
        case "path":
            return LocalRuntime("env.py")
        case "process":
            return SubprocessRuntime("env.py")
        case _:
            return DockerRuntime(request["image"])


async def _answer_requests() -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        runtimes: dict[str, Any] = {}

        async def runtime_for(request: dict[str, Any]) -> Any:
            """Open each runtime once, as a long job does."""
            key = request["what"] + request.get("image", "")
            if key not in runtimes:
                runtime = _runtime(request)
                if hasattr(runtime, "__aenter__"):
                    await stack.enter_async_context(runtime)
                runtimes[key] = runtime
            return runtimes[key]

        while line := await loop.run_in_executor(None, sys.stdin.readline):
            request = json.loads(line)
            if request["what"] == "by hand":
                each_s = await _by_hand(request["count"])
            else:
                each_s = await _rollouts(await runtime_for(request), request["count"], request["concurrency"])
            print(f"SECONDS_EACH={each_s}", flush=True)


if __name__ == "__main__":
    asyncio.run(_answer_requests())
