"""An SSH daemon that lets everybody in and runs what it is told; prints its port and serves until killed."""

from __future__ import annotations

import asyncio

import asyncssh


class Open(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:  # noqa: ARG002  asks for no proof of it
        return False


async def execute(process: asyncssh.SSHServerProcess[bytes]) -> None:
    child = await asyncio.create_subprocess_exec("bash", "-c", process.command or "", stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    process.stdout.write(out)
    process.exit(child.returncode or 0)


async def main() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    listener = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Open, server_host_keys=[key], process_factory=execute, encoding=None
    )
    print(listener.get_port(), flush=True)
    await listener.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
