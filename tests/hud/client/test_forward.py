"""Capabilities through the control port: local listeners whose connections become tunnels (section 7.4)."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from hud.capabilities import Capability
from hud.client.client import Client, connect
from hud.environment import Environment
from tests.hud.environment.channel import Channel, until
from tests.hud.environment.daemon import Daemon, closed_port, daemon, read_exactly
from tests.hud.environment.probe import Steps

MEGABYTE = 1 << 20


@pytest.fixture
def far() -> Iterator[Daemon]:
    with daemon() as served:
        yield served


@pytest.fixture
def channel(far: Daemon) -> Iterator[Channel]:
    """An environment with a living and a dead capability."""
    environment = Environment(
        "forwarded",
        capabilities=[
            Capability("echo", "echo/1", f"tcp://user:secret@127.0.0.1:{far.port}/path?query#part", {"k": 1}),
            Capability("dead", "dead/1", f"tcp://127.0.0.1:{closed_port()}"),
        ],
    )

    @environment.template()
    async def slow(seconds: float) -> Steps:
        await asyncio.sleep(seconds)
        yield "go"
        yield 1.0

    served = Channel(environment)
    yield served
    served.stop()


@asynccontextmanager
async def connected(channel: Channel) -> AsyncIterator[Client]:
    async with connect(f"tcp://127.0.0.1:{channel.port}", ready_timeout=10) as client:
        yield client


async def opened(client: Client, far: Daemon) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, socket.socket]:
    """Connect to the local address of `echo`, and give both ends of the tunnel."""
    parts = urlsplit(client.binding("echo").url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"!")
    stream = await asyncio.to_thread(far.accept)
    assert await asyncio.to_thread(read_exactly, stream, 1) == b"!"
    return reader, writer, stream


async def test_the_local_address_keeps_all_but_host_port_and_password(channel: Channel) -> None:
    async with connected(channel) as client:
        binding = client.binding("echo")
        parts = urlsplit(binding.url)
        assert (parts.scheme, parts.username, parts.password, parts.hostname) == ("tcp", "user", None, "127.0.0.1")
        assert (parts.path, parts.query, parts.fragment) == ("/path", "query", "part")
        assert (binding.name, binding.protocol, binding.params) == ("echo", "echo/1", {"k": 1})
        assert client.binding("echo").url == binding.url
        assert client.manifest.bindings[0].url.startswith("tcp://user:secret@127.0.0.1:")


async def test_megabytes_pass_both_ways_over_several_streams_while_a_call_runs(channel: Channel, far: Daemon) -> None:
    async with connected(channel) as client:
        calling = asyncio.create_task(client.start_task("slow", {"seconds": 1.0}))

        async def one(seed: int, ends: tuple[asyncio.StreamReader, asyncio.StreamWriter, socket.socket]) -> None:
            reader, writer, stream = ends
            there, back = (random.Random(seed + part).randbytes(MEGABYTE + seed) for part in (0, 100))
            writer.write(there)
            sending = asyncio.create_task(asyncio.to_thread(stream.sendall, back))
            received = asyncio.create_task(asyncio.to_thread(read_exactly, stream, len(there)))
            assert await reader.readexactly(len(back)) == back
            assert await received == there
            await sending
            writer.close()

        await asyncio.gather(*[one(seed, await opened(client, far)) for seed in range(4)])
        assert not calling.done()
        assert (await calling)["prompt"] == "go"


@pytest.mark.parametrize("first", ["near", "far"])
async def test_a_half_close_travels_on(channel: Channel, far: Daemon, first: str) -> None:
    async with connected(channel) as client:
        reader, writer, stream = await opened(client, far)
        if first == "near":
            writer.write(b"last words")
            writer.write_eof()
            assert await asyncio.to_thread(read_exactly, stream, 10) == b"last words"
            assert await asyncio.to_thread(stream.recv, 1) == b""
            stream.sendall(b"answer")
            stream.close()
            assert await reader.read() == b"answer"
        else:
            stream.sendall(b"last words")
            stream.shutdown(socket.SHUT_WR)
            assert await reader.read() == b"last words"
            writer.write(b"answer")
            writer.write_eof()
            assert await asyncio.to_thread(read_exactly, stream, 6) == b"answer"
            assert await asyncio.to_thread(stream.recv, 1) == b""
        writer.close()


async def test_a_reset_in_the_middle_ends_the_local_side(channel: Channel, far: Daemon) -> None:
    async with connected(channel) as client:
        reader, writer, stream = await opened(client, far)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
        assert await reader.read() == b""
        writer.close()


async def test_a_dead_daemon_closes_the_local_connection(channel: Channel) -> None:
    async with connected(channel) as client:
        parts = urlsplit(client.binding("dead").url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        assert await reader.read() == b""
        writer.close()


async def test_closing_the_client_ends_its_streams_and_listeners(channel: Channel, far: Daemon) -> None:
    async with connected(channel) as client:
        reader, writer, stream = await opened(client, far)
        parts = urlsplit(client.binding("echo").url)
    assert await reader.read() == b""
    assert await asyncio.to_thread(stream.recv, 1) == b""
    stream.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(parts.hostname, parts.port)
    writer.close()
    await asyncio.to_thread(until, lambda: not channel.server.strays and not channel.server.sessions)


async def test_a_stream_outlives_nobody_when_the_environment_goes(channel: Channel, far: Daemon) -> None:
    async with connected(channel) as client:
        reader, writer, _ = await opened(client, far)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(channel.server.close(), channel.loop))
        assert await reader.read() == b""
        writer.close()


async def test_the_token_opens_tunnels_too(far: Daemon) -> None:
    environment = Environment("guarded", capabilities=[Capability("echo", "echo/1", f"tcp://127.0.0.1:{far.port}")])
    channel = Channel(environment, token="s3cret")
    try:

        class Place:
            url = f"tcp://127.0.0.1:{channel.port}"
            params = {"token": "s3cret"}  # noqa: RUF012  the shape of a runtime

        async with connect(Place(), ready_timeout=10) as client:
            reader, writer, stream = await opened(client, far)
            stream.sendall(b"through")
            assert await reader.readexactly(7) == b"through"
            writer.close()
    finally:
        await asyncio.to_thread(channel.stop)
