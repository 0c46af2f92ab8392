"""Which members are on lost nodes: read only while a member is not in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from okitoki.database.patroni_api import PatroniApi, PatroniError
from okitoki.database.rebuild import Losses, LostMember
from okitoki.database.spec import member_of
from okitoki.database.state import DatabaseState
from okitoki.kube.client import Client
from okitoki.kube.resources import NODE, Manifest, annotation, condition, condition_is_true

SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""On a claim whose volume was made for the node of its first pod (WaitForFirstConsumer)."""


async def observe_losses(
    client: Client, patroni: PatroniApi, state: DatabaseState, pods: Sequence[Manifest], claims: Sequence[Manifest]
) -> Losses:
    """Reads nodes only when a member with a volume is not in order, and asks the primary only when a node is lost."""
    well = {member.name for member in state.members if member.in_order}
    doubtful = [claim for claim in claims if (member := member_of(claim["metadata"]["name"])) and member not in well]
    if not doubtful or len(doubtful) == len(claims):
        return Losses()
    nodes = {node["metadata"]["name"]: node for node in await client.list(NODE)}
    by_name = {pod["metadata"]["name"]: pod for pod in pods}
    lost = [found for claim in doubtful if (found := lost_member(claim, by_name, nodes))]
    if not lost:
        return Losses()
    return Losses(tuple(lost), await _streaming(patroni, state), spare_nodes(nodes, claims))


def node_of(claim: Manifest) -> str:
    """The node that a claim's volume is on; empty for one that is on no node's own disk."""
    return annotation(claim, SELECTED_NODE)


def lost_member(claim: Manifest, pods: Mapping[str, Manifest], nodes: Mapping[str, Manifest]) -> LostMember | None:
    """The claim's member, when its node is gone or not ready. One whose claim is on its way out is being made anew."""
    name, node_name = member_of(claim["metadata"]["name"]), node_of(claim)
    if name is None or not node_name or claim["metadata"].get("deletionTimestamp"):
        return None
    pod = pods.get(name)
    since = _lost_since(nodes.get(node_name), pod or claim)
    if since is None:
        return None
    pod_uid = pod["metadata"]["uid"] if pod else None
    return LostMember(name, node_name, since, claim["metadata"]["uid"], pod_uid)


def _lost_since(node: Manifest | None, waiting: Manifest) -> datetime | None:
    """Since when a node is not ready; of one that is gone, since when what waits for it exists."""
    if node is None:
        return datetime.fromisoformat(waiting["metadata"]["creationTimestamp"])
    ready = condition(node, "Ready")
    well = not ready or ready["status"] == "True"
    return None if well else datetime.fromisoformat(ready["lastTransitionTime"])


def spare_nodes(nodes: Mapping[str, Manifest], claims: Sequence[Manifest]) -> tuple[str, ...]:
    """Nodes that are ready, take pods, and have no member's volume."""
    taken = {node_of(claim) for claim in claims}
    return tuple(sorted(name for name, node in nodes.items() if name not in taken and _takes_pods(node)))


def _takes_pods(node: Manifest) -> bool:
    spec = node.get("spec") or {}
    tainted = any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or [])
    return condition_is_true(node, "Ready") and not spec.get("unschedulable") and not tainted


async def _streaming(patroni: PatroniApi, state: DatabaseState) -> frozenset[str] | None:
    if state.primary is None:
        return None
    try:
        return await patroni.streaming(state.primary.address)
    except PatroniError:
        return None
