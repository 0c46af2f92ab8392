"""The engines' command port."""

from __future__ import annotations

import asyncio

import pytest

from okitoki_agents.edge.engine_port import asked


async def test_a_command_is_a_line_and_its_answer_is_read() -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"heard " + await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(engine, "127.0.0.1", 0)
    async with server, asked(server.sockets[0].getsockname()[1], "active", 5) as answer:
        assert await answer.read() == b"heard active\n"


async def test_an_engine_that_says_nothing_is_not_waited_for_longer_than_told() -> None:
    async def frozen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(frozen, "127.0.0.1", 0)
    async with server:
        with pytest.raises(TimeoutError):
            async with asked(server.sockets[0].getsockname()[1], "active", 0.1) as answer:
                await answer.read()
