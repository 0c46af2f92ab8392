"""How many calls a media engine of this node holds: its own (it relays them) and foreign ones (the peer does)."""

import asyncio
import re
from dataclasses import dataclass

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


async def sessions(port: int, host: str = "127.0.0.1") -> Sessions:
    """Ask the engine whose command port this is. Raises MediaError."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"list numsessions\n")
                await writer.drain()
                return parse_sessions(await _until_counted(reader))
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise MediaError(f"command port {port}: {type(error).__name__} {error}") from error


async def claim(port: int, host: str = "127.0.0.1") -> None:
    """Let the engine write all its calls to its Redis again, from where its twin at the peer hears of them; on calls
    that are its own already `active` does nothing else. Raises MediaError."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"active\n")
                await writer.drain()
                await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise MediaError(f"command port {port}: {type(error).__name__} {error}") from error


async def _until_counted(reader: asyncio.StreamReader) -> str:
    """What the engine says up to both counts. It answers in pieces and, told of the end of the questions, may leave
    out the last ones; so it is not told."""
    answer = ""
    while len(_COUNT.findall(answer)) < 2 and (piece := await reader.readline()):
        answer += piece.decode(errors="replace")
    return answer
