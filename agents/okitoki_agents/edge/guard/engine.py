"""Orders to this node's engines when a media address comes or goes (rtpengine's CLI, rtpengine-ctl(1))."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from okitoki_agents.edge import resp
from okitoki_agents.edge.facts import Facts

log = logging.getLogger(__name__)

_CLI_TIMEOUT = 1.0
_RETRY = 0.2


class Engine:
    """The engine of media address `number` on this node.

    The address has come: `active` makes every call the engine knows its own and writes it into the own Redis, from where
    the peer has it. (Audio goes on without, but a returning peer would not learn of the calls.)

    The address has gone: `standby` makes them the peer's, or the engine would ignore what the peer says of them; and what
    the own Redis says of them is void.
    """

    def __init__(self, facts: Facts, number: int) -> None:
        self.name = f"media-{number}"
        self._cli = ("127.0.0.1", facts.region.ports.cli[number - 1])
        self._redis = (facts.node_ip, facts.region.ports.redis)
        self._password = facts.redis_password
        self._forget = (f"SELECT {number}", "FLUSHDB")
        self._task: asyncio.Task[None] | None = None

    def own(self, wanted: Callable[[], bool]) -> None:
        """Claim all calls; tried again for as long as `wanted` holds."""
        self._start(self._until_done("active", wanted))

    def disown(self, wanted: Callable[[], bool]) -> None:
        """Give all calls to the peer; tried again for as long as `wanted` holds."""
        self._start(self._until_done("standby", wanted))

    @property
    def settled(self) -> bool:
        """No order is under way."""
        return self._task is None or self._task.done()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(work)

    async def _until_done(self, order: str, wanted: Callable[[], bool]) -> None:
        began = time.monotonic()
        while wanted():
            try:
                await self._command(order)
                if order == "standby":
                    await resp.ask(self._redis, self._password, *self._forget, timeout=_CLI_TIMEOUT)
            except (OSError, TimeoutError, resp.RespError):
                await asyncio.sleep(_RETRY)
                continue
            log.info("%s: %s, %.0f ms", self.name, order, 1000 * (time.monotonic() - began))
            return

    async def _command(self, order: str) -> bytes:
        async with asyncio.timeout(_CLI_TIMEOUT):
            reader, writer = await asyncio.open_connection(*self._cli)
            try:
                writer.write(order.encode() + b"\n")
                await writer.drain()
                return await reader.read()
            finally:
                writer.close()
