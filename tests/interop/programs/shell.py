"""Run a command and list a folder through the capability `shell`; the public SDK alone has such a client yet.

shell.py URL FOLDER   > {"out": …, "exit_status": …, "listed": […]}
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from hud import Runtime, connect


async def main(url: str, folder: str) -> dict[str, Any]:
    async with connect(Runtime(url), ready_timeout=20) as connected:
        client: Any = connected
        shell = await client.open("shell")
        done = await shell.run("echo hi; exit 7")
        return {"out": done.stdout, "exit_status": done.exit_status, "listed": sorted(await shell.listdir(folder))}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
