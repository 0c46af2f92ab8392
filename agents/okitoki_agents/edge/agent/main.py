"""Starts the agent in a pod."""

import asyncio
import contextlib
import signal
from pathlib import Path

from okitoki_agents.edge.agent.agent import Agent
from okitoki_agents.edge.agent.haproxy_config import Files
from okitoki_agents.edge.facts import Facts
from okitoki_agents.kube import ApiClient

CA_FILE = Path("/etc/okitoki/ca/ca.crt")
"""The platform's CA, a ConfigMap volume of the pod."""


def haproxy_files(facts: Facts) -> Files:
    """HAProxy's files in this pod."""
    return Files(folder=facts.paths.data / "haproxy", run=facts.paths.haproxy_stats.parent, ca=CA_FILE)


def run(facts: Facts) -> None:
    """Run until SIGTERM or SIGINT."""
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(facts))


async def _run(facts: Facts) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(Agent(facts, ApiClient.in_cluster(), haproxy_files(facts)).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await task
