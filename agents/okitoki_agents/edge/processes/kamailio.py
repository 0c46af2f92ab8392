"""Kamailio: starts with the routes that are on disk, whoever else is alive."""

from __future__ import annotations

import logging
import os
import secrets
from typing import NoReturn

from okitoki_agents.edge import certificates, registrations, render
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.kamailio import ensure_tables
from okitoki_agents.edge.processes.become import become
from okitoki_agents.edge.processes.waits import redis_answers, wait_for_peer, wait_within

log = logging.getLogger(__name__)

_REDIS_PATIENCE = 15.0
"""Seconds that Kamailio's start may wait for Redis."""


def run(facts: Facts, name: str) -> NoReturn:
    ensure_tables(facts.paths)
    log.info("registrations to begin with: %s", registrations.prepare(facts.paths))
    run_dir = facts.paths.kamailio_rpc.parent
    run_dir.mkdir(parents=True, exist_ok=True)
    certificates.ensure(facts.paths)
    render.install(facts.paths.conf / "tls.cfg", render.tls(facts))
    config = facts.paths.conf / "kamailio.cfg"
    render.install(config, render.kamailio(facts, 1 + secrets.randbelow(2**31 - 1)))
    # Records need it from the start on (ndb_redis never comes back to a server that was away then); calls do not.
    wait_within("this node's Redis", lambda: redis_answers(facts, facts.node_ip), _REDIS_PATIENCE)
    wait_for_peer(facts)
    # At its start it looks its own host name up; a name server that is away must not hold it for 10 s (resolv.conf(5)).
    os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"
    become(facts.paths, name, "kamailio", "-DD", "-E", "-f", str(config), "-Y", str(run_dir), "-m", "128", "-M", "8")
