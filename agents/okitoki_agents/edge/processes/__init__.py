"""What each `okitoki-edge run NAME` waits for, renders and becomes."""

from __future__ import annotations

import importlib

from okitoki_agents.edge.facts import Facts

NAMES = ("redis", "rtpengine-1", "rtpengine-2", "kamailio", "haproxy", "keepalived", "guard", "agent", "tunnel")
"""The containers of the edge pod. Each has a module here (both engines share one) with `run(facts, name)`."""


def run(name: str, facts: Facts) -> None:
    """Become the process: the module's `run` execs it, or for Python processes runs it until it ends."""
    module = "rtpengine" if name.startswith("rtpengine-") else name
    importlib.import_module(f"{__name__}.{module}").run(facts, name)
