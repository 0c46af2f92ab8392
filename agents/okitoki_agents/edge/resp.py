"""The little of Redis's protocol that a start and the guard need: simple commands, answered by a line each.

Not by the redis library: it takes seconds to import on a busy machine, and a restarting guard or engine is waited for.
"""

from __future__ import annotations

import asyncio


class RespError(Exception):
    """Redis refused a command."""


async def ask(address: tuple[str, int], password: str, *commands: str, seconds: float) -> None:
    """Send `commands` (inline, so without blanks in their arguments) and see each answered without an error.

    Raises OSError, TimeoutError or RespError. A connection for each call, so that none goes stale.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write("".join(f"{command}\r\n" for command in (f"AUTH {password}", *commands)).encode())
            for _ in range(len(commands) + 1):
                line = await reader.readline()
                if not line.endswith(b"\r\n") or line[:1] not in b"+:":
                    raise RespError(line.decode(errors="replace").strip() or "the connection ended")
        finally:
            writer.close()


async def answers(address: tuple[str, int], password: str, *commands: str, seconds: float = 1.0) -> bool:
    """Whether Redis answers `commands` without an error and in time."""
    try:
        await ask(address, password, *commands, seconds=seconds)
    except (OSError, TimeoutError, RespError):
        return False
    return True
