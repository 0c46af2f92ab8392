"""`drain-edge`: free a node of a VoiceRegion's addresses, so that it can be serviced (decision 16)."""

from __future__ import annotations

from typing import Any

from okitoki_kubectl.cluster import Cluster, Resource
from okitoki_kubectl.commands.status import region
from okitoki_kubectl.view import ADDRESSES, Row
from okitoki_kubectl.waiting import Failed, Waiter

DRAINED_NODE = "platform.oki-toki.net/drained-node"
PATIENCE_SECONDS = 60.0


def drain_edge(cluster: Cluster, name: str, node: str | None, waiter: Waiter) -> list[Row]:
    """Move every address off `node`, or off the node that holds fewest; established calls stay. What does not come to
    pass is taken back. Raises `Failed`, `KubectlError`."""
    found = region(cluster, name)
    before, nodes = _holders(found), (found.get("status") or {}).get("nodes") or {}
    asked = _asked(found)
    chosen = node or asked or _least(name, nodes, before)
    if chosen not in nodes.values():
        raise Failed(f"no edge pod of {name} runs on {chosen}: --node is one of {', '.join(sorted(nodes.values()))}")
    if asked not in (None, chosen):
        raise Failed(f"{asked} of {name} is drained, and one node must serve: kubectl okitoki drain-edge {name} --undo")
    if asked is None:
        cluster.annotate("voiceregions", name, DRAINED_NODE, chosen)
    drained, progress = waiter.until(lambda: _drained(cluster, name, chosen), PATIENCE_SECONDS)
    if drained is None:
        taken_back = ""
        if asked is None:
            cluster.unannotate("voiceregions", name, DRAINED_NODE)
            taken_back = "; the request was taken back"
        raise Failed(f"{chosen} is not free after {PATIENCE_SECONDS:.0f} s ({progress}){taken_back}")
    return _moves(before, drained)


def undo(cluster: Cluster, name: str, waiter: Waiter) -> list[Row]:
    """Let a drained node hold addresses again; what was moved stays where it is. Raises `Failed`, `KubectlError`."""
    found = region(cluster, name)
    if _asked(found) is None:
        raise Failed(f"no node of {name} is drained: there is nothing to undo")
    before = _holders(found)
    cluster.unannotate("voiceregions", name, DRAINED_NODE)

    def ended() -> tuple[Resource | None, str]:
        now = region(cluster, name)
        return (None if _drain(now) else now), f"{name}: the operator has not seen it yet"

    done, _ = waiter.until(ended, PATIENCE_SECONDS)
    if done is None:
        raise Failed(f"no answer in {PATIENCE_SECONDS:.0f} s: does the operator run? See kubectl okitoki status {name}")
    return _moves(before, done)


def _drained(cluster: Cluster, name: str, node: str) -> tuple[Resource | None, str]:
    found = region(cluster, name)
    drain = _drain(found)
    if drain.get("node") != node:
        return None, f"{name}: the operator has not seen it yet: does it run?"
    return (found if drain["state"] == "Drained" else None), f"{name}: {drain['state']}: {drain['message']}"


def _least(name: str, nodes: dict[str, str], holders: dict[str, str]) -> str:
    if not nodes:
        raise Failed(f"no edge pod of {name} runs: see kubectl okitoki status {name}")
    held = list(holders.values())
    return nodes[min(nodes, key=lambda pod: (held.count(pod), pod))]


def _asked(found: Resource) -> str | None:
    value: str | None = (found["metadata"].get("annotations") or {}).get(DRAINED_NODE)
    return value or None


def _drain(found: Resource) -> dict[str, Any]:
    return (found.get("status") or {}).get("drain") or {}


def _holders(found: Resource) -> dict[str, str]:
    return dict((found.get("status") or {}).get("holders") or {})


def _moves(before: dict[str, str], found: Resource) -> list[Row]:
    nodes, after = (found.get("status") or {}).get("nodes") or {}, _holders(found)
    return [
        {"address": name, "from": before.get(name), "to": after.get(name), "node": nodes.get(after.get(name, ""))}
        for name in ADDRESSES
    ]
