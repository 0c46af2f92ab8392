"""The fence of this server: its stream from the old primary is cut, and stays cut until it is safe to let it flow.

Kept in a file on the member's volume, which outlives the agent's container and its pod; while the file is there, the
gate (images/postgres/okitoki-postgres) starts no server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from okitoki_agents.database.decisions import Fence, Lift, Local, Position, Store, lift
from okitoki_agents.database.local import CutError

log = logging.getLogger(__name__)


class Server(Protocol):
    """What a fence needs of the local server."""

    async def cut(self) -> Position: ...

    async def enforce(self) -> None: ...

    async def state(self, *, upstream: bool) -> Local: ...

    async def resume(self) -> None: ...

    def let_go(self) -> None: ...


class Fencing:
    """At most one fence at a time, of the primary that holds the lock."""

    def __init__(self, me: str, server: Server, file: Path) -> None:
        self._me, self._server, self._file = me, server, file
        self._busy = asyncio.Lock()
        self.up = asyncio.Event()
        """Set while there is a fence."""
        self.fence = self._read()
        if self.fence is not None:
            self.up.set()
            log.warning("found the fence of an earlier agent: cut off from %s", self.fence.primary)

    async def cut(self, primary: str, host: str, version: int, attempt: str) -> Position:
        """Cut and keep cut; returns what the server has for good. Raises CutError, and then this attempt leaves nothing
        behind."""
        async with self._busy:
            before = self.fence
            attempts = frozenset({attempt})
            if before is not None and before.primary == primary:
                attempts, version = before.attempts | attempts, max(version, before.version)
            self._write(Fence(primary, host, version, attempts))
            try:
                position = await self._server.cut()
            except CutError:
                if before is None:
                    await self._open()
                else:
                    self._write(before)
                raise
        log.warning("cut off from %s at %s for version %d of its lock (%s)", primary, position, version, attempt)
        return position

    async def withdraw(self, attempt: str) -> None:
        """The attempt is over; its agent has removed nothing and will not."""
        async with self._busy:
            if self.fence is not None:
                self._write(replace(self.fence, attempts=self.fence.attempts - {attempt}))

    async def tend(self, store: Store) -> None:
        """Enforce the fence, or lift it when it may be."""
        async with self._busy:
            fence = self.fence
            if fence is None:
                return
            await self._server.enforce()
            # Asking for it is a new connection each time, and here is where a failover waits for the processor.
            follows = store.leader not in (None, fence.primary, self._me)
            what, reason = lift(self._me, fence, store, await self._server.state(upstream=follows))
            if what is Lift.LIFT:
                await self._open()
                log.warning("the stream may flow again: %s", reason)
            elif what is Lift.LET_DIE:
                self._server.let_go()

    async def _open(self) -> None:
        """The startup process first: should the agent die between, its successor opens again, which does no harm."""
        await self._server.resume()
        self.fence = None
        self.up.clear()
        with contextlib.suppress(FileNotFoundError):
            self._file.unlink()

    def _write(self, fence: Fence) -> None:
        text = json.dumps(
            {
                "primary": fence.primary,
                "host": fence.host,
                "version": fence.version,
                "attempts": sorted(fence.attempts),
            }
        )
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.replace(self._file)
        self.fence = fence
        self.up.set()

    def _read(self) -> Fence | None:
        try:
            found = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        return Fence(found["primary"], found["host"], found["version"], frozenset(found["attempts"]))
