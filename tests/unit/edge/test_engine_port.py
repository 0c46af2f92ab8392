"""The engines' command port."""

from __future__ import annotations

import asyncio

import pytest

from okitoki_agents.edge.engine_port import asked, calls


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


LINE = "ID: {:>60} | del:n | creat:  1795575207 | prx:198.18.16.11:42249 | redis: 1 | frgn:{} | rec:n\n"


async def listed(answer: str) -> dict[str, bool]:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"list sessions all\n"
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(engine, "127.0.0.1", 0) as server:
        return await calls(server.sockets[0].getsockname()[1], 5)


async def test_the_calls_of_an_engine_and_whose_they_are() -> None:
    odd = "a b | del:y"
    assert await listed(LINE.format("one@198.18.16.150", "n") + "\n" + LINE.format(odd, "y")) == {
        "one@198.18.16.150": False,
        odd: True,
    }
    assert await listed("No sessions on this media relay.\n") == {}


@pytest.mark.parametrize("answer", ["", "Unknown command\n", LINE.format("one", "n") + "ID:   two | del:n |"])
async def test_an_answer_that_is_not_whole_is_no_answer(answer: str) -> None:
    """Calls that it left out would count as ended."""
    with pytest.raises(OSError, match="not understood"):
        await listed(answer)
