"""Opening connections to servers that answer late, wrongly or never."""

from __future__ import annotations

import asyncio

import pytest
from support.postgres import PASSWORD, Server, free_port

from callcentre.database.connection import Connector, Login
from callcentre.database.decisions import ConnectError
from callcentre.database.members import Member
from callcentre.database.resolver import Resolver


def connector(member: Member, password: str = PASSWORD) -> Connector:
    return Connector(Login("callcentre", "app", password), Resolver([member], {}))


async def test_a_session_is_durable_and_has_no_time_out(server: Server) -> None:
    member = Member("m", "127.0.0.1", server.port)
    connection = await connector(member).open(member, 10)
    try:
        for setting, value in (("synchronous_commit", "on"), ("statement_timeout", "0"), ("TimeZone", "UTC")):
            cursor = await connection.raw.execute("select current_setting(%s) as value", (setting,))
            assert await cursor.fetchone() == {"value": value}
        assert connection.reusable
    finally:
        connection.close()
    assert not connection.reusable


@pytest.mark.parametrize("by", ["its limit", "a cancellation"])
async def test_an_attempt_that_ends_leaves_no_socket_open(by: str) -> None:
    """A frozen server: the kernel has accepted, nobody answers. Its end must see the client go at once."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            asked.set()
        gone.set()
        writer.close()

    frozen = await asyncio.start_server(freeze, "127.0.0.1", 0)
    member = Member("m", "127.0.0.1", frozen.sockets[0].getsockname()[1])
    async with frozen:
        opening = asyncio.create_task(connector(member).open(member, 0.3 if by == "its limit" else 60))
        await asyncio.wait_for(asked.wait(), 10)
        if by == "a cancellation":
            opening.cancel()
        with pytest.raises((ConnectError, asyncio.CancelledError)):
            await opening
        await asyncio.wait_for(gone.wait(), 5)


async def test_refusals_are_told_without_the_password(server: Server) -> None:
    member = Member("m", "127.0.0.1", server.port)
    with pytest.raises(ConnectError, match="password authentication failed") as caught:
        await connector(member, "another-password").open(member, 10)
    assert "another-password" not in str(caught.value)
    nobody = Member("n", "127.0.0.1", free_port())
    with pytest.raises(ConnectError, match="refused"):
        await connector(nobody).open(nobody, 10)
    unresolved = Member("u", "unresolved.invalid", 5432)
    with pytest.raises(ConnectError, match="not been resolved"):
        await connector(unresolved).open(unresolved, 10)
