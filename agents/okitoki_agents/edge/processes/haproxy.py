"""HAProxy: runs what the agent has written to disk; without an agent, what an earlier one left there."""

from __future__ import annotations

import logging
import os
import time

from okitoki_agents.edge.agent.main import haproxy_files
from okitoki_agents.edge.facts import Facts

log = logging.getLogger(__name__)

_STEP = 0.2


def run(facts: Facts, name: str) -> None:
    """Wait for the configuration, which needs the region's certificate first, then become HAProxy (a master with
    workers).

    The guard sees a HAProxy that waits as starting, so this node gets no HTTPS address meanwhile.
    """
    files = haproxy_files(facts)
    files.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.server_state.unlink(missing_ok=True)
    if not files.config.exists():
        log.info("waiting for the agent's %s", files.config)
    while not files.config.exists():
        time.sleep(_STEP)
    facts.paths.pid.mkdir(parents=True, exist_ok=True)
    (facts.paths.pid / name).write_text(str(os.getpid()))
    command = ["haproxy", "-W", "-S", f"{files.master_socket},mode,600", "-f", str(files.config)]
    os.execvp(command[0], command)  # noqa: S606 - becomes it
