"""Tells Kamailio how many calls the region has, for its limit (`spec.media.maxCalls`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from okitoki_agents.edge import kamailio
from okitoki_agents.edge.agent import media
from okitoki_agents.edge.facts import Facts

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


async def run(facts: Facts) -> None:
    """Look and tell, until cancelled. A look that fails is left out: what Kamailio knows then is void after a while."""
    while True:
        try:
            await look(facts)
        except (media.MediaError, kamailio.KamailioError, ConnectionError, FileNotFoundError, TimeoutError) as error:
            log.debug("calls are not counted: %s", error)
        await asyncio.sleep(LOOK_SECONDS)


async def look(facts: Facts) -> None:
    """Count all calls of the region: each node's engines hold their own and the twin's."""
    found = [await media.sessions(port) for port in facts.region.ports.cli]
    count = sum(counts.own + counts.foreign for counts in found)
    await asyncio.to_thread(_tell, facts, count)


def _tell(facts: Facts, count: int) -> None:
    kamailio.rpc(facts.paths, "htable.sets", "load", "calls", str(count))
    # What begins from now on is added to it. There may have been nothing.
    with contextlib.suppress(kamailio.KamailioError):
        kamailio.rpc(facts.paths, "htable.delete", "begun", "calls")
