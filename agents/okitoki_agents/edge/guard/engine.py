"""Orders to this node's engines when a media address comes or goes (rtpengine's CLI, rtpengine-ctl(1))."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from okitoki_agents.edge import engine_port, resp
from okitoki_agents.edge.facts import Facts

log = logging.getLogger(__name__)

_CLI_TIMEOUT = 1.0
_RETRY = 0.2
_SETTLE = 1.0
"""Seconds that an address must have been gone before the engine gives its calls away."""


class Engine:
    """The engine of media address `number` on this node.

    The address has come: what the own Redis says is void, and `active` makes every call the engine knows its own and
    writes it there, from where the peer has it. (Audio goes on without, but a returning peer would not learn of them.)

    The address has gone: `standby` makes them the peer's, or the engine would ignore what the peer says of them. Not at
    once: a node that wakes takes its addresses for a moment, and a standby engine that is then told of a call which the
    waking one no longer has in its Redis ends that call.
    """

    def __init__(self, facts: Facts, number: int) -> None:
        self.name = f"media-{number}"
        self._port = facts.region.ports.cli[number - 1]
        self._redis = (facts.node_ip, facts.region.ports.redis)
        self._password = facts.redis_password
        self._flush = (f"SELECT {number}", "FLUSHDB")
        self._task: asyncio.Task[None] | None = None

    def own(self, wanted: Callable[[], bool], *, afresh: bool) -> None:
        """Claim all calls; tried again for as long as `wanted` holds. `afresh`: forget what the own Redis says."""
        self._start(self._until_done("active", wanted, afresh=afresh))

    def disown(self, wanted: Callable[[], bool]) -> None:
        """Give all calls to the peer; tried again for as long as `wanted` holds."""
        self._start(self._until_done("standby", wanted, after=_SETTLE))

    @property
    def settled(self) -> bool:
        """No order is under way."""
        return self._task is None or self._task.done()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(work)

    async def _until_done(
        self, order: str, wanted: Callable[[], bool], *, after: float = 0.0, afresh: bool = False
    ) -> None:
        await asyncio.sleep(after)
        began = time.monotonic()
        while wanted():
            try:
                if afresh:
                    await self._forget()
                await self._command(order)
            except (OSError, TimeoutError):
                await asyncio.sleep(_RETRY)
                continue
            log.info("%s: %s, %.0f ms", self.name, order, 1000 * (time.monotonic() - began))
            return

    async def _forget(self) -> None:
        """Without the own Redis the engine must claim its calls all the same."""
        try:
            await resp.ask(self._redis, self._password, *self._flush, seconds=_CLI_TIMEOUT)
        except (OSError, TimeoutError, resp.RespError) as error:
            log.warning("%s: the own Redis is not emptied (%s)", self.name, type(error).__name__)

    async def _command(self, order: str) -> bytes:
        async with engine_port.asked(self._port, order, _CLI_TIMEOUT) as reader:
            return await reader.read()
