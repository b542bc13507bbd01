"""Leave tasks behind, take them up again, cancel them; runs unchanged on both SDKs.

park.py URL   > {name of the situation: what the client saw}
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from hud import Runtime, connect


async def said(work: Any) -> Any:
    """Await a call and give its result, or its error as code and message."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001  each implementation has errors of its own
        return [getattr(error, "code", type(error).__name__), getattr(error, "message", str(error))]


async def abandon(call: Any) -> None:
    """Give a call up while the environment is at it; the public client then drops its connection."""
    running = asyncio.create_task(call)
    await asyncio.sleep(0.3)
    running.cancel()
    await asyncio.wait([running])


async def main(url: str) -> dict[str, Any]:
    def connected() -> Any:
        return connect(Runtime(url), ready_timeout=20)

    async def leave(tag: str) -> str:
        """Start a task, disconnect, and give the session that it is parked under."""
        async with connected() as client:
            await client.start_task("slow", {"tag": tag})
            return str(client.manifest.session_id)

    seen: dict[str, Any] = {}
    async with connected() as client:
        seen["nothing to grade"] = await said(client.grade({"answer": "?"}))

    await leave("adopted")
    async with connected() as client:
        seen["adopted"] = await said(client.grade({"answer": "by another"}))
        seen["adopted again"] = await said(client.grade({"answer": "?"}))

    first, second = await leave("first"), await leave("second")
    async with connected() as client:
        code, message = await said(client.grade({"answer": "?"}))
        seen["two parked"] = [code, "parked sessions" in message]
        seen["resumed"] = [(await client.hello(first)).session_id == first, await said(client.grade({"answer": "1"}))]
        await client.hello(second)
        seen["resumed and cancelled"] = [await said(client.cancel()), await said(client.grade({"answer": "2"}))]
        seen["resumed when gone"] = [(await said(client.hello(gone)))[0] for gone in (first, "sess-nope")]

    async with connected() as owner, connected() as thief:
        await owner.start_task("slow", {"tag": "owned"})
        seen["live session"] = (await said(thief.hello(owner.manifest.session_id)))[0]
        seen["live task"] = await said(thief.grade({"answer": "?"}))
        seen["live task, its owner"] = await said(owner.grade({"answer": "!"}))

    async with connected() as client:
        await client.start_task("slow", {"tag": "cancelled"})
        seen["cancelled"] = [await said(client.cancel()), await said(client.grade({"answer": "?"}))]

    async with connected() as client:
        await client.start_task("slow", {"tag": "abandoned in grade", "grade_s": 60.0})
        await abandon(client.grade({"answer": "?"}))
    async with connected() as client:
        seen["abandoned while it is graded"] = await said(client.grade({"answer": "?"}))

    async with connected() as client:
        await abandon(client.start_task("slow", {"tag": "abandoned in start", "start_s": 1.0}))
    async with connected() as client:
        seen["abandoned while it starts"] = await said(client.grade({"answer": "?"}))
        await asyncio.sleep(1.5)
        seen["abandoned while it starts, then"] = await said(client.grade({"answer": "late"}))
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
