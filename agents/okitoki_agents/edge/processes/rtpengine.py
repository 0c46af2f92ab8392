"""One rtpengine, for one media address.

It starts on an empty database of its own: on the one its dead predecessor left it would take ended calls for its own and
ignore what the peer says of them. Its calls come from the peer's Redis, where the engine that took them over writes them.
"""

from __future__ import annotations

from typing import NoReturn

from redis import Redis, RedisError

from okitoki_agents.edge import render
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.processes.become import become, wait_for


def run(facts: Facts, name: str) -> NoReturn:
    number = int(name.rpartition("-")[2])
    config = facts.paths.conf / f"{name}.conf"
    render.install(config, render.rtpengine(facts, number))
    wait_for("this node's Redis", lambda: _flush(facts, number))
    become(facts.paths, name, "rtpengine", "--foreground", "--log-stderr", f"--config-file={config}")


def _flush(facts: Facts, database: int) -> bool:
    client = Redis(
        host=facts.node_ip,
        port=facts.region.ports.redis,
        db=database,
        password=facts.redis_password,
        socket_timeout=1,
        socket_connect_timeout=1,
    )
    try:
        return bool(client.flushdb())
    except RedisError:
        return False
    finally:
        client.close()
