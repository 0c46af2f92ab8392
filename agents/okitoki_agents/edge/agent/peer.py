"""Which node the other pod of the pair runs on.

The answer goes to `/var/lib/edge/peer` (one line, an IPv4 address), and to `plain-peer` beside it when that pod is of a
version without a tunnel, which keepalived, rtpengine and the guard follow.
It is kept while the API server is silent, and while there is no other pod: a pod that is being replaced comes back,
most often on the same node, and nobody is helped by forgetting where.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from okitoki_agents.edge import store
from okitoki_agents.edge.facts import Paths
from okitoki_agents.kube import Object

log = logging.getLogger(__name__)

TUNNEL = "tunnel"
"""A container of the edge's pods."""
FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Found:
    """The other pod's node; `plain`: its edge has no tunnel, and what it sends and expects comes by the nodes' network
    until it is replaced, too."""

    address: str
    plain: bool = False


def choose_peer(pods: Iterable[Object], own_name: str, own_address: str) -> Found | None:
    """The node of the other pod, None when there is none.

    A pod that is not terminating comes before one that is (a pod lost with its node stays terminating while its
    successor already runs elsewhere); among equals the youngest wins.
    """
    candidates = []
    for pod in pods:
        address = pod.get("status", {}).get("hostIP")
        if pod["metadata"]["name"] == own_name or not address or address == own_address:
            continue
        if pod.get("status", {}).get("phase") in FINISHED:
            continue
        terminating = "deletionTimestamp" in pod["metadata"]
        plain = all(container["name"] != TUNNEL for container in pod.get("spec", {}).get("containers", ()))
        candidates.append((not terminating, pod["metadata"].get("creationTimestamp", ""), address, plain))
    return Found(*max(candidates)[2:]) if candidates else None


def remember(paths: Paths, found: Found | None) -> str | None:
    """Write down a newly found peer; the address in force, which is the old one when nothing was found."""
    known = paths.peer.read_text().strip() if paths.peer.exists() else None
    if found is None:
        return known
    # First: a peer without a tunnel must not be met as one that has it, nor the other way round.
    if store.write_atomically(paths.plain_peer, f"{found.address if found.plain else ''}\n".encode()):
        log.info("the edge of the peer's node %s has %s tunnel", found.address, "no" if found.plain else "a")
    if found.address != known:
        store.write_atomically(paths.peer, f"{found.address}\n".encode())
        log.info("the peer's node is %s (was %s)", found.address, known or "unknown")
    return found.address
