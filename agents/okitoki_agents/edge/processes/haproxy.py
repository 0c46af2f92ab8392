"""HAProxy in master-worker mode, with the configuration that the agent writes and reloads."""

from __future__ import annotations

from typing import NoReturn

from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.processes.become import become, wait_for


def run(facts: Facts, name: str) -> NoReturn:
    config = facts.paths.haproxy_config
    wait_for(f"{config} from the agent", config.exists)
    facts.paths.haproxy_stats.parent.mkdir(parents=True, exist_ok=True)
    become(facts.paths, name, "haproxy", "-W", "-db", "-S", str(facts.paths.haproxy_master), "-f", str(config))
