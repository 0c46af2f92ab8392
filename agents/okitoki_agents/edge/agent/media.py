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
                writer.write_eof()
                return parse_sessions((await reader.read()).decode(errors="replace"))
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise MediaError(f"command port {port}: {type(error).__name__} {error}") from error
