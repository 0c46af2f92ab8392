"""What processes wait for before they begin: the Redis of this node, and what the peer has to tell them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from okitoki_agents.edge import render, resp
from okitoki_agents.edge.facts import SERVICES, Facts
from okitoki_agents.edge.processes.become import wait_for

PEER_PATIENCE = 5.0
"""Seconds that a start may wait for the peer's Redis: a peer that is away must not keep this node away too."""


def guard_ready(facts: Facts) -> bool:
    """The guard is at work: its nft table is there, so the peer's alias leads somewhere."""
    return all((facts.paths.track / service).exists() for service in SERVICES)


def redis_answers(facts: Facts, host: str) -> bool:
    """Whether a Redis of this region answers there."""
    return asyncio.run(resp.answers((host, facts.region.ports.redis), facts.redis_password, "PING"))


def wait_for_peer(facts: Facts, patience: float = PEER_PATIENCE) -> None:
    """Wait until the peer's Redis answers, if there is a peer: what connects to it at its start (engines, which read
    their calls there, and Kamailio) would begin without it, and engines never read again."""
    wait_for("the guard", lambda: guard_ready(facts))
    if render.peer_of(facts) is None:
        return
    wait_within("the peer's Redis", lambda: redis_answers(facts, facts.region.peer_alias), patience)


def wait_within(what: str, condition: Callable[[], bool], patience: float) -> None:
    """`wait_for`, but at most `patience` seconds."""
    give_up = time.monotonic() + patience
    wait_for(what, lambda: condition() or time.monotonic() > give_up)
