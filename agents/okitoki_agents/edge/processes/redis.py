"""Redis of this node: call state of the engines, calls of Kamailio."""

from __future__ import annotations

from typing import NoReturn

from okitoki_agents.edge import render
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.processes.become import become


def run(facts: Facts, name: str) -> NoReturn:
    (facts.paths.data / "redis").mkdir(parents=True, exist_ok=True)
    config = facts.paths.conf / "redis.conf"
    render.install(config, render.redis(facts))
    become(facts.paths, name, "redis-server", str(config))
