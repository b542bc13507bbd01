"""Reach the daemon behind every capability through the client's local addresses; runs unchanged on both SDKs.

tunnel.py URL   > {reference: {"url": local address without its port, "greeting": …, "echoed": bytes that came back}}
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from typing import Any
from urllib.parse import urlsplit

from hud import Runtime, connect

PAYLOAD = os.urandom(1 << 20)


async def exchange(url: str) -> dict[str, Any]:
    """Read the daemon's greeting, send a mebibyte, half-close, and read all that comes back."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    greeting = (await reader.readline()).decode()
    writer.write(PAYLOAD)
    writer.write_eof()
    echoed = await reader.read(-1)
    writer.close()
    return {
        "url": re.sub(r"127\.0\.0\.1:\d+", "LOCAL", url),
        "greeting": greeting,
        "echoed": len(echoed),
        "same": echoed == PAYLOAD,
    }


async def main(url: str) -> dict[str, Any]:
    async with connect(Runtime(url), ready_timeout=20) as client:
        references = ("shell", "mcp/2025-11-25", "cdp", "desk", "robot")
        addresses = [client.binding(reference).url for reference in references]
        running = asyncio.create_task(client.start_task("slow", {"tag": "beside tunnels", "start_s": 1.0}))
        await asyncio.sleep(0.1)
        seen: dict[str, Any] = dict(zip(references, await asyncio.gather(*map(exchange, addresses)), strict=True))
        seen["again"] = await exchange(addresses[0])
        seen["beside a running call"] = [not running.done(), await running]
        await client.cancel()
        return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
