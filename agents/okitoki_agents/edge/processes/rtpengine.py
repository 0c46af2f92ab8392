"""One rtpengine, for one media address.

It starts on an empty database of its own: on the one its dead predecessor left it would take ended calls for its own
and ignore what the peer says of them. Its calls come from the peer's Redis, where the engine that took them over writes
them.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from okitoki_agents.edge import render, resp
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.processes.become import become, wait_for
from okitoki_agents.edge.processes.waits import wait_for_peer


def run(facts: Facts, name: str) -> NoReturn:
    number = int(name.rpartition("-")[2])
    config = facts.paths.conf / f"{name}.conf"
    render.install(config, render.rtpengine(facts, number))
    wait_for("this node's Redis", lambda: _flush(facts, number))
    wait_for_peer(facts)
    become(facts.paths, name, "rtpengine", "--foreground", "--log-stderr", f"--config-file={config}")


def _flush(facts: Facts, database: int) -> bool:
    address = (facts.node_ip, facts.region.ports.redis)
    return asyncio.run(resp.answers(address, facts.redis_password, f"SELECT {database}", "FLUSHDB"))
