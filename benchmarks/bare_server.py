"""The least an asyncio server can do with a control channel: parse the line, answer with bytes that were ready."""

from __future__ import annotations

import asyncio
import json
from typing import cast

_READY = {
    "hello": b'{"jsonrpc":"2.0","id":1,"result":{"session_id":"sess-00000000000000000000000000000000",'
    b'"env":{"name":"figures","version":"0.0.1"},"bindings":[]}}\n',
    "tasks.list": b'{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"id":"add","description":"Add two numbers.","args":'
    b'{"type":"object","properties":{"a":{"type":"integer","title":"A"},"b":{"type":"integer","title":"B",'
    b'"default":2}},"required":["a"],"additionalProperties":false}}]}}\n',
    "tasks.start": b'{"jsonrpc":"2.0","id":1,"result":{"prompt":"What is 4 + 2?"}}\n',
    "tasks.grade": b'{"jsonrpc":"2.0","id":1,"result":{"score":1.0}}\n',
}


class _Session(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(_READY[json.loads(data)["method"]])


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(_Session, "127.0.0.1", 0)
    print(f"HUD_SERVE_PORT={server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
