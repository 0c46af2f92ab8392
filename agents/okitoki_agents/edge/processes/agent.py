"""The edge agent (Python, no exec)."""

from __future__ import annotations

from okitoki_agents.edge.agent import main
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.processes.become import prepare


def run(facts: Facts, name: str) -> None:
    prepare(facts.paths, name)
    main.run(facts)
