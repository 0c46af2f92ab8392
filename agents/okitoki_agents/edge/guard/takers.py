"""What the peer could take, in its own guard's words.

That the peer's Redis answers says little: a node that has just come up has Redis first and engines seconds later, and
an address that a slow engine gives up then goes to nobody. So each guard says on a channel of its own Redis which
services are good there, and listens to the other one. What is said on a channel is kept by nobody: what is heard is
said now, by a guard that runs, and without a guard no node holds an address (decision 7).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection

from okitoki_agents.edge import resp
from okitoki_agents.edge.facts import Facts

_CHANNEL = "could-take"
VALID_SECONDS = 2.0
"""For so long the last word counts. It comes every 0.4 s (`main.SPEAK_EVERY`)."""
_SAY_SECONDS = 0.5


class Takers:
    """Says what this node could take, and knows what the peer has said last."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._said: frozenset[str] = frozenset()
        self._at = float("-inf")

    def could_take(self, service: str) -> bool:
        """Whether the peer says that `service` is good there."""
        return service in self._said and time.monotonic() - self._at <= VALID_SECONDS

    async def say(self, services: Collection[str]) -> None:
        """Tell the peer, if it listens. Raises OSError, TimeoutError or resp.RespError."""
        await resp.call(
            (self._facts.node_ip, self._facts.region.ports.redis),
            self._facts.redis_password,
            ("PUBLISH", _CHANNEL, " ".join(sorted(services))),
            seconds=_SAY_SECONDS,
        )

    async def listen(self) -> None:
        """Until the peer is silent for as long as its word counts, or its Redis is away."""
        address = (self._facts.region.peer_alias, self._facts.region.ports.redis)
        with contextlib.suppress(*resp.AWAY):
            async for word in resp.listen(address, self._facts.redis_password, _CHANNEL, VALID_SECONDS):
                self._said, self._at = frozenset(word.decode(errors="replace").split()), time.monotonic()
