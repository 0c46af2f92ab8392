"""The commands to Redis, against a server that answers as it is told."""

from __future__ import annotations

import asyncio

import pytest

from okitoki_agents.edge import resp

PASSWORD = "redispassword0000001"


async def serve(answers: bytes) -> tuple[asyncio.Server, tuple[str, int], list[bytes]]:
    heard: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1024))
        writer.write(answers)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    return server, (host, port), heard


async def test_commands_after_the_password() -> None:
    server, address, heard = await serve(b"+OK\r\n+OK\r\n+OK\r\n")
    async with server:
        await resp.ask(address, PASSWORD, "SELECT 1", "FLUSHDB", seconds=5)
    assert heard == [f"AUTH {PASSWORD}\r\nSELECT 1\r\nFLUSHDB\r\n".encode()]


@pytest.mark.parametrize("answers", [b"-WRONGPASS no\r\n", b"+OK\r\n-LOADING\r\n", b"+OK\r\n", b""])
async def test_a_refusal_or_an_early_end_is_an_error_without_the_password(answers: bytes) -> None:
    server, address, _ = await serve(answers)
    async with server:
        with pytest.raises(resp.RespError) as caught:
            await resp.ask(address, PASSWORD, "PING", seconds=5)
    assert PASSWORD not in str(caught.value)
