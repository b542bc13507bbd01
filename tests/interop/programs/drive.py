"""Drive a served environment through `connect`, case by case, on one connection; runs unchanged on both SDKs.

    drive.py URL < [{"id": …, "args": …, "answer": …}, …]   > {"manifest": …, "tasks": […], "outcomes": […]}

An outcome holds what the client gave: `started` and `evaluation`, or `error` as code and message.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from hud import Runtime, connect


async def outcome(client: Any, case: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    try:
        seen["started"] = await client.start_task(case["id"], case["args"])
        seen["evaluation"] = await client.grade({"answer": case["answer"]})
    except Exception as error:  # noqa: BLE001  each implementation has errors of its own
        seen["error"] = [getattr(error, "code", type(error).__name__), getattr(error, "message", str(error))]
    return seen


async def main(url: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    async with connect(Runtime(url), ready_timeout=20) as client:
        manifest = client.manifest
        bindings = [
            {"name": binding.name, "protocol": binding.protocol, "url": binding.url, "params": dict(binding.params)}
            for binding in manifest.bindings
        ]
        return {
            "manifest": {
                "protocol_version": manifest.protocol_version,
                "name": manifest.server_info.name,
                "version": manifest.server_info.version,
                "bindings": bindings,
            },
            "tasks": await client.list_tasks(),
            "outcomes": [await outcome(client, case) for case in cases],
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], json.load(sys.stdin)))))
