"""The tunnel's supervisor (Python, no exec)."""

from __future__ import annotations

from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.processes.become import prepare
from okitoki_agents.edge.tunnel import supervisor


def run(facts: Facts, name: str) -> None:
    prepare(facts.paths, name)
    supervisor.run(facts)
