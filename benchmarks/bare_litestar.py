"""The least that a Litestar server spends on a read: a handler without key, database or log, on a platform's server."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import uvicorn
import uvloop
from litestar import Litestar, get


@dataclass
class Record:
    """As large as what `/v2/auth/me` gives."""

    user_id: str
    team_id: str
    scope: str
    key_name: str


@get("/read")
async def read() -> Record:
    return Record("f6b4d0a0-5d4c-4f7e-9f0e-0d5c7c1b2a39", "0b6a7a0e-91a3-4b7e-8a41-5d9b5a3cf0c4", "admin", "admin")


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"HUD_SERVE_PORT={listener.getsockname()[1]}", flush=True)
    app = Litestar([read], openapi_config=None, logging_config=None)
    config = uvicorn.Config(app, http="httptools", log_config=None, access_log=False, server_header=False)
    uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
