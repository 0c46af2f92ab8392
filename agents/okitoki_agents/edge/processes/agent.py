"""The agent, in this process."""

from __future__ import annotations

import os

from okitoki_agents.edge.agent import main
from okitoki_agents.edge.facts import Facts


def run(facts: Facts, name: str) -> None:
    """Run the agent until it is told to end."""
    facts.paths.pid.mkdir(parents=True, exist_ok=True)
    (facts.paths.pid / name).write_text(str(os.getpid()))
    main.run(facts)
