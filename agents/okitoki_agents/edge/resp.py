"""The little of Redis's protocol that a start and the guard need.

Not by the redis library: it takes seconds to import on a busy machine, and a restarting guard or engine is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

Reply = bytes | int | None | list["Reply"]


class RespError(Exception):
    """Redis refused a command."""


AWAY = (OSError, TimeoutError, RespError)
"""What is raised when a Redis is away, or does not do what it is asked for."""


async def call(
    address: tuple[str, int], password: str, *commands: tuple[str | bytes, ...], seconds: float
) -> list[Reply]:
    """Send `commands`, each a tuple of words, and return their replies in order.

    Raises OSError, TimeoutError or RespError. A connection for each call, so that none goes stale.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(*address, limit=1 << 24)
        try:
            writer.write(b"".join(encoded(command) for command in (("AUTH", password), *commands)))
            replies = [await _reply(reader) for _ in range(len(commands) + 1)]
        finally:
            writer.close()
    return replies[1:]


async def heard(address: tuple[str, int], password: str, channel: str, seconds: float) -> bool:
    """Whether anything is published on `channel` from now on, within `seconds`.

    Raises OSError, TimeoutError when Redis does not answer by then, or RespError.
    """
    subscribed = False
    try:
        async with asyncio.timeout(seconds), _subscription(address, password, channel) as reader:
            subscribed = True
            await _reply(reader)
    except TimeoutError:
        if subscribed:
            return False
        raise
    return True


async def listen(address: tuple[str, int], password: str, channel: str, silence: float) -> AsyncIterator[bytes]:
    """What is published on `channel`, word by word.

    Raises TimeoutError when nothing comes for `silence` seconds, OSError or RespError.
    """
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(silence):
            reader = await stack.enter_async_context(_subscription(address, password, channel))
        while True:
            async with asyncio.timeout(silence):
                message = await _reply(reader)
            if isinstance(message, list) and len(message) == 3 and isinstance(message[2], bytes):
                yield message[2]


@asynccontextmanager
async def _subscription(address: tuple[str, int], password: str, channel: str) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(encoded(("AUTH", password)) + encoded(("SUBSCRIBE", channel)))
        await _reply(reader)
        await _reply(reader)
        yield reader
    finally:
        writer.close()


def encoded(words: tuple[str | bytes, ...]) -> bytes:
    """A command as RESP2 has it: an array of bulk strings."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


async def _reply(reader: asyncio.StreamReader) -> Reply:
    line = await reader.readline()
    if not line.endswith(b"\r\n"):
        raise RespError("the connection ended")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        if int(rest) < 0:
            return None
        try:
            return (await reader.readexactly(int(rest) + 2))[:-2]
        except asyncio.IncompleteReadError as error:
            raise RespError("the connection ended") from error
    if kind == b"*":
        return [await _reply(reader) for _ in range(int(rest))]
    raise RespError(rest.decode(errors="replace"))


async def ask(address: tuple[str, int], password: str, *commands: str, seconds: float) -> None:
    """Send `commands`, whose words have no blanks, and see each answered without an error; raises as `call` does."""
    await call(address, password, *(tuple(command.split()) for command in commands), seconds=seconds)


async def answers(address: tuple[str, int], password: str, *commands: str, seconds: float = 1.0) -> bool:
    """Whether Redis answers `commands` without an error and in time."""
    try:
        await ask(address, password, *commands, seconds=seconds)
    except AWAY:
        return False
    return True
