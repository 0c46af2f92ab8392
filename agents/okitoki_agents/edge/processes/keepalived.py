"""keepalived: moves the addresses by VRRP.

It starts after the guard, which alone says whether a service is good; addresses that a killed keepalived left on the
node go first, for another node may hold them by now.
"""

from __future__ import annotations

import logging
from typing import NoReturn

from okitoki_agents.edge import network, render
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.processes.become import become, wait_for
from okitoki_agents.edge.processes.waits import guard_ready

log = logging.getLogger(__name__)


def run(facts: Facts, name: str) -> NoReturn:
    interface = network.interface_of(facts.node_ip)
    wait_for("the guard", lambda: guard_ready(facts))
    if left := network.remove(address.ip for address in facts.region.addresses):
        log.warning("removed addresses that were left on this node: %s", ", ".join(left))
    config = facts.paths.conf / "keepalived.conf"
    render.install(config, render.keepalived(facts, interface, render.peer_of(facts)))
    become(
        facts.paths,
        name,
        "keepalived",
        "--dont-fork",
        "--log-console",
        "--vrrp",
        f"--use-file={config}",
        f"--pid={facts.paths.run}/keepalived.pid",
        f"--vrrp_pid={facts.paths.run}/keepalived-vrrp.pid",
        # Of parts that do not run here; it still makes the files, by default where the file system is read-only.
        f"--checkers_pid={facts.paths.run}/keepalived-checkers.pid",
        f"--bfd_pid={facts.paths.run}/keepalived-bfd.pid",
    )
