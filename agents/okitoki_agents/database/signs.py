"""What moves on a server that is not in order, also when it answers no query (`standstill.py` says what follows).

A server that starts up refuses every connection, so its progress is read where PostgreSQL shows it to the system:
titles of its processes, its control file, the size of its directory, and what the processes that work on it read and
write.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Protocol

from okitoki_agents import procfs
from okitoki_agents.database.standstill import Signs

PROGRAMS = Path("/usr/lib/postgresql")
GROWING = ("base", "pg_wal")
"""Where a clone writes. Small files elsewhere come and go with every start of a server."""
CONTROL = {
    "Latest checkpoint location": "checkpoint",
    "Minimum recovery ending location": "consistent",
}
RECEIVED = re.compile(r"walreceiver streaming ([0-9A-F]+)/([0-9A-F]+)")
REPLAYED = re.compile(r"startup (?:recovering|waiting for) ([0-9A-F]{24})")
CONTROL_SECONDS = 5.0


class Server(Protocol):
    """What is asked of the local server (`LocalServer`)."""

    data: Path

    def postmaster(self) -> int | None: ...

    async def wal(self) -> tuple[int, int]: ...


async def read_signs(server: Server) -> Signs:
    """All signs there are now; those that cannot be read are missing."""
    received, replayed = await server.wal()
    positions = {"received": received, "replayed": replayed} if received or replayed else {}
    positions |= await _control(server.data)
    postmaster = server.postmaster()
    work: dict[tuple[int, int], tuple[float, int]] = {}
    for pid in procfs.children(postmaster) if postmaster is not None else ():
        title = procfs.title(pid)
        if found := RECEIVED.search(title):
            positions["receiving"] = _position(found[1], found[2])
        if found := REPLAYED.search(title):
            positions["segment"] = int(found[1], 16)
            # Reads from the disk only: while it waits for WAL it looks for the same cached files again and again, and
            # says so in its log each time.
            work |= _work(pid, ("read_bytes",))
    for pid in procfs.titled(str(server.data)):
        if pid != postmaster:  # a clone, a rewind, a crash recovery in single-user mode
            work |= _work(pid, ("rchar", "wchar"))
    return Signs(positions, await asyncio.to_thread(_size, server.data), work)


def _work(pid: int, kinds: tuple[str, ...]) -> dict[tuple[int, int], tuple[float, int]]:
    age, done = procfs.age(pid), procfs.io(pid)
    if age is None or done is None:
        return {}
    return {(pid, age[0]): (age[1], sum(done.get(kind, 0) for kind in kinds))}


async def _control(data: Path) -> dict[str, int]:
    """Positions in the control file, by the program that knows its format."""
    try:
        program = PROGRAMS / (data / "PG_VERSION").read_text().strip() / "bin" / "pg_controldata"
        process = await asyncio.create_subprocess_exec(
            program, "-D", data, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={"LC_ALL": "C"}
        )
    except OSError:
        return {}
    try:
        async with asyncio.timeout(CONTROL_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        return {}
    return parse_control(output.decode(errors="replace"))


def parse_control(text: str) -> dict[str, int]:
    """The positions that pg_controldata tells, in bytes."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        high, slash, low = value.strip().partition("/")
        if name in CONTROL and slash:
            found[CONTROL[name]] = _position(high, low)
    return found


def _position(high: str, low: str) -> int:
    """A position of WAL in bytes, of its two hexadecimal halves."""
    return (int(high, 16) << 32) + int(low, 16)


def _size(data: Path) -> int:
    total = 0
    for part in GROWING:
        for folder, _, files in os.walk(data / part):
            for name in files:
                try:
                    total += (Path(folder) / name).stat().st_size
                except OSError:
                    continue
    return total
