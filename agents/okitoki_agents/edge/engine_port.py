"""The command port of a media engine of this node (rtpengine-ctl(1)); loopback only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HOST = "127.0.0.1"


@asynccontextmanager
async def asked(port: int, command: str, seconds: float) -> AsyncIterator[asyncio.StreamReader]:
    """Send a command and read the answer from what this yields. Raises OSError, TimeoutError."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(command.encode() + b"\n")
            await writer.drain()
            yield reader
        finally:
            writer.close()
