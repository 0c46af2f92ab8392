"""The commands to Redis, against a server that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    assert heard == [b"".join(resp.encoded(command) for command in (("AUTH", PASSWORD), ("SELECT", "1"), ("FLUSHDB",)))]


def test_words_may_hold_anything() -> None:
    assert resp.encoded(("GET", "a b\r\n", b"\xff")) == b"*3\r\n$3\r\nGET\r\n$5\r\na b\r\n\r\n$1\r\n\xff\r\n"


async def test_replies_of_every_kind() -> None:
    server, address, _ = await serve(b"+OK\r\n:7\r\n$4\r\na\r\nb\r\n*2\r\n$-1\r\n$0\r\n\r\n*0\r\n")
    async with server:
        found = await resp.call(address, PASSWORD, ("A",), ("B",), ("C",), ("D",), seconds=5)
    assert found == [7, b"a\r\nb", [None, b""], []]


SUBSCRIBED = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"


@asynccontextmanager
async def open_ended(answers: bytes) -> AsyncIterator[tuple[str, int]]:
    """A server that answers and leaves the connection open."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield host, port


async def test_what_is_said_on_a_channel_is_heard_and_silence_is_told_from_a_dead_redis() -> None:
    async with open_ended(SUBSCRIBED + MESSAGE) as address:
        assert await resp.heard(address, PASSWORD, "c", seconds=5) is True
    async with open_ended(SUBSCRIBED) as address:
        assert await resp.heard(address, PASSWORD, "c", seconds=0.2) is False
    async with open_ended(b"+OK\r\n") as address:
        with pytest.raises(TimeoutError):
            await resp.heard(address, PASSWORD, "c", seconds=0.2)
    server, address, _ = await serve(SUBSCRIBED)
    async with server:
        with pytest.raises(resp.RespError):
            await resp.heard(address, PASSWORD, "c", seconds=5)


async def test_every_word_of_a_channel_comes_until_it_falls_silent() -> None:
    async with open_ended(SUBSCRIBED + MESSAGE + MESSAGE.replace(b"x", b"y")) as address:
        words = resp.listen(address, PASSWORD, "c", silence=0.2)
        assert (await anext(words), await anext(words)) == (b"x", b"y")
        with pytest.raises(TimeoutError):
            await anext(words)
    server, address, _ = await serve(SUBSCRIBED + MESSAGE)
    async with server:
        with pytest.raises(resp.RespError):
            assert [word async for word in resp.listen(address, PASSWORD, "c", silence=5)]


@pytest.mark.parametrize("answers", [b"+OK\r\n$4\r\nab", b"+OK\r\n*2\r\n:1\r\n", b"+OK\r\n?\r\n"])
async def test_half_a_reply_is_an_error(answers: bytes) -> None:
    server, address, _ = await serve(answers)
    async with server:
        with pytest.raises(resp.RespError):
            await resp.call(address, PASSWORD, ("KEYS", "*"), seconds=5)


@pytest.mark.parametrize("answers", [b"-WRONGPASS no\r\n", b"+OK\r\n-LOADING\r\n", b"+OK\r\n", b""])
async def test_a_refusal_or_an_early_end_is_an_error_without_the_password(answers: bytes) -> None:
    server, address, _ = await serve(answers)
    async with server:
        with pytest.raises(resp.RespError) as caught:
            await resp.ask(address, PASSWORD, "PING", seconds=5)
    assert PASSWORD not in str(caught.value)
