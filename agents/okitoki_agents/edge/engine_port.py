"""The command port of a media engine of this node (rtpengine-ctl(1)); loopback only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HOST = "127.0.0.1"
_CALL = re.compile(
    r"^ID: +(\S.*) \| del:\S+ \| creat:[^|]*\| prx:[^|]*\| redis:[^|]*\| frgn:([yn]) \| rec:", re.MULTILINE
)
_NONE = "No sessions"


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


async def calls(port: int, seconds: float) -> dict[str, bool]:
    """The engine's calls: Call-ID -> whether it is foreign (the peer's). Raises OSError, TimeoutError.

    Not by its counters (`list numsessions`): they go wrong, even below nought, when calls change hands while they are
    restored.
    """
    async with asked(port, "list sessions all", seconds) as reader:
        answer = (await reader.read()).decode(errors="replace")
    found = {call: foreign == "y" for call, foreign in _CALL.findall(answer)}
    if len(found) != sum(line.startswith("ID: ") for line in answer.splitlines()) or not (found or _NONE in answer):
        raise OSError(f"list sessions: not understood: {answer[:200]!r}")
    return found
