"""Probes against servers on loopback."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from okitoki_agents.edge.guard import probes


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        yield made


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the probe has no event to wait for
            await asyncio.sleep(0.005)


async def test_an_engine_that_answers_and_one_that_does_not(server: socket.socket) -> None:
    probe = probes.ng_ping(server.getsockname()[1])
    assert not probe.ask()
    data, client = await asyncio.get_running_loop().sock_recvfrom(server, 1024)
    cookie, command = data.split(b" ", 1)
    assert command == b"d7:command4:pinge"
    server.sendto(cookie + b" d6:result4:ponge", client)
    await until(lambda: probe.answered)
    assert probe.ask()
    assert not probe.ask()


async def test_sip_options_follow_their_target(server: socket.socket) -> None:
    port = server.getsockname()[1]
    probe = probes.sip_options("127.0.0.1", lambda: ("127.0.0.1", port))
    probe.ask()
    data, client = await asyncio.get_running_loop().sock_recvfrom(server, 2048)
    assert data.startswith(f"OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\n".encode())
    assert b";rport" in data
    server.sendto(b"SIP/2.0 503 Service Unavailable\r\n\r\n", client)
    server.sendto(b"SIP/2.0 200 OK\r\n\r\n", client)
    await until(lambda: probe.answered)


async def test_nobody_there_is_no_answer_and_no_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    probe = probes.ng_ping(port)
    for _ in range(3):
        assert not probe.ask()
        await asyncio.sleep(0.01)


async def test_haproxy_on_one_connection_until_it_closes() -> None:
    with tempfile.TemporaryDirectory(prefix="ot-") as folder:
        path = Path(folder) / "health.sock"
        connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            for _ in range(2):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            writer.close()

        probe = probes.HttpProbe(path)
        assert not probe.ask()
        async with await asyncio.start_unix_server(serve, path):
            for _ in range(4):
                probe.ask()
                await until(lambda: probe.answered)
                # The connection that the server has closed is noticed before the next question.
                await asyncio.sleep(0.02)
            assert connections == 2
            probe.close()
