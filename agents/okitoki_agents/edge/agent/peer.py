"""Which node the other pod of the pair runs on.

The answer goes to `/var/lib/edge/peer` (one line, an IPv4 address), which keepalived, rtpengine and the guard follow.
It is kept while the API server is silent, and while there is no other pod: a pod that is being replaced comes back,
most often on the same node, and nobody is helped by forgetting where.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from okitoki_agents.edge import store
from okitoki_agents.kube import Object

log = logging.getLogger(__name__)

FINISHED = ("Succeeded", "Failed")


def choose_peer(pods: Iterable[Object], own_name: str, own_address: str) -> str | None:
    """Address of the node of the other pod, None when there is none.

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
        candidates.append((not terminating, pod["metadata"].get("creationTimestamp", ""), address))
    return max(candidates)[2] if candidates else None


def remember(path: Path, address: str | None) -> str | None:
    """Write a newly found peer to `path`; the peer in force, which is the old one when `address` is None."""
    known = path.read_text().strip() if path.exists() else None
    if address is None or address == known:
        return known
    store.write_atomically(path, f"{address}\n".encode())
    log.info("the peer's node is %s (was %s)", address, known or "unknown")
    return address
