"""How many calls a media engine of this node holds: its own (it relays them) and foreign ones (the peer does)."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from okitoki_agents.edge import engine_port

ANSWER_SECONDS = 2.0
_COUNT = re.compile(r"Current sessions (own|foreign):\s*(\d+)")


class MediaError(Exception):
    """The engine's command port gave no usable answer."""


@dataclass(frozen=True)
class Sessions:
    """Calls of one engine."""

    own: int
    foreign: int


def parse_sessions(answer: str) -> Sessions:
    """The counts in the answer to `list numsessions` (rtpengine, daemon/cli.c). Raises MediaError."""
    counts = {kind: int(count) for kind, count in _COUNT.findall(answer)}
    if set(counts) != {"own", "foreign"}:
        raise MediaError(f"list numsessions: no counts in {answer[:200]!r}")
    return Sessions(**counts)


async def sessions(port: int) -> Sessions:
    """Ask the engine whose command port this is. Raises MediaError."""
    async with _asked(port, "list numsessions") as reader:
        return parse_sessions(await _until_counted(reader))


async def claim(port: int) -> None:
    """Let the engine write all its calls to its Redis again, from where its twin at the peer hears of them; on calls
    that are its own already `active` does nothing else. Raises MediaError."""
    async with _asked(port, "active") as reader:
        await reader.readline()


@asynccontextmanager
async def _asked(port: int, command: str) -> AsyncIterator[asyncio.StreamReader]:
    try:
        async with engine_port.asked(port, command, ANSWER_SECONDS) as reader:
            yield reader
    except (OSError, TimeoutError) as error:
        raise MediaError(f"command port {port}: {type(error).__name__} {error}") from error


async def _until_counted(reader: asyncio.StreamReader) -> str:
    """What the engine says up to both counts. It answers in pieces and, told of the end of the questions, may leave
    out the last ones; so it is not told."""
    answer = ""
    while len(_COUNT.findall(answer)) < 2 and (piece := await reader.readline()):
        answer += piece.decode(errors="replace")
    return answer
