"""When the platform is whole, as its servers themselves say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from okitoki_chaos.cluster import ChaosError, Cluster, Pod, pods

EDGE_STATUS = "platform.oki-toki.net/edge-status"
HOLDS_SIP = "platform.oki-toki.net/holds-sip"
POSTGRES, APP, EDGE = (f"app.kubernetes.io/name={name}" for name in ("postgres", "app", "edge"))
PART_OF = "app.kubernetes.io/part-of=okitoki"
LEADER, SYNC = "postgres-leader", "postgres-sync"
ADDRESSES = ("sip", "https", "media-1", "media-2")


def leader_name(cluster: Cluster, namespace: str) -> str:
    """Patroni's word on which member leads."""
    found = json.loads(cluster.kubectl("get", "configmap", LEADER, "-n", namespace, "-o", "json"))
    return str(found["metadata"].get("annotations", {}).get("leader", ""))


def primary(cluster: Cluster, namespace: str) -> Pod:
    """The pod of the leader; raises ChaosError when there is none."""
    leader = leader_name(cluster, namespace)
    for pod in pods(cluster, namespace, POSTGRES):
        if pod.name == leader:
            return pod
    raise ChaosError(f"{namespace}: the leader is {leader or 'nobody'}, and no such pod is there")


def holder_of_sip(cluster: Cluster, namespace: str) -> Pod:
    """The edge pod with the SIP address; raises ChaosError unless exactly one says so."""
    holding = [pod for pod in pods(cluster, namespace, EDGE) if pod.labels.get(HOLDS_SIP) == "true"]
    if len(holding) != 1:
        raise ChaosError(f"{namespace}: {len(holding)} edge pods say that they hold the SIP address, not one")
    return holding[0]


def holders(found: Sequence[Pod]) -> dict[str, list[str]]:
    """Address -> the ready pods that say that they hold it. Pure."""
    by_address: dict[str, list[str]] = {name: [] for name in ADDRESSES}
    for pod in found:
        for name in edge_status(pod).get("holds", []):
            by_address.setdefault(name, []).append(pod.name)
    return by_address


def edge_status(pod: Pod) -> dict[str, Any]:
    """What an edge pod says of itself; empty when that cannot be read."""
    try:
        status: dict[str, Any] = json.loads(pod.annotations.get(EDGE_STATUS, "{}"))
    except json.JSONDecodeError:
        return {}
    return status


def edge_faults(found: Sequence[Pod], wanted: int = 2) -> list[str]:
    """Why a region's edge is not whole: pods missing, an address nowhere or twice, calls unprotected. Pure."""
    faults: list[str] = []
    good = [pod for pod in found if pod.stands]
    if len(good) != wanted:
        faults.append(f"{len(good)} of {wanted} edge pods are ready")
    for pod in good:
        if edge_status(pod).get("protected") is not True:
            faults.append(f"{pod.name} does not say that its calls are protected")
    faults += [
        f"address {name} is held by {', '.join(who) or 'nobody'}"
        for name, who in holders(good).items()
        if len(who) != 1
    ]
    return faults


def database_faults(found: Sequence[Pod], leader: str, wanted: int) -> list[str]:
    """Why a tenant's database is not whole. Pure."""
    good = {pod.name for pod in found if pod.stands}
    faults = [] if len(good) == wanted else [f"{len(good)} of {wanted} database members are ready"]
    if leader not in good:
        faults.append(f"the leader {leader or 'nobody'} is not a ready member")
    return faults


def synchronous_faults(sync: Mapping[str, Any], leader: str, wanted: int) -> list[str]:
    """Which standbys a primary does not count on, by the annotations of Patroni's `postgres-sync`. Pure."""
    standbys = [name for name in str(sync.get("sync_standby") or "").split(",") if name]
    if sync.get("leader") != leader:
        return [f"synchronous replication is that of {sync.get('leader') or 'nobody'}, not of the leader {leader}"]
    return [] if len(standbys) >= wanted - 1 else [f"{len(standbys)} of {wanted - 1} standbys are in the quorum"]


@dataclass(frozen=True)
class Snapshot:
    """The platform's pods by namespace and name label, and Patroni's word on leaders and quorums by namespace."""

    pods: Mapping[tuple[str, str], Sequence[Pod]]
    leaders: Mapping[str, str]
    quorums: Mapping[str, Mapping[str, Any]]

    @classmethod
    def take(cls, cluster: Cluster) -> Snapshot:
        """Three requests, however many tenants there are: looking must not slow down what is looked at.

        Patroni's ConfigMaps are asked for by name: so a drill's account needs no right to read any other.
        """
        found: dict[tuple[str, str], list[Pod]] = {}
        listed = json.loads(cluster.kubectl("get", "pods", "-A", "-l", PART_OF, "-o", "json"))["items"]
        for pod in sorted(map(Pod.of, listed), key=lambda pod: pod.name):
            found.setdefault((pod.namespace, pod.labels.get("app.kubernetes.io/name", "")), []).append(pod)
        maps = [one for name in (LEADER, SYNC) for one in _named(cluster, name)]
        notes = {
            (one["metadata"]["namespace"], one["metadata"]["name"]): one["metadata"].get("annotations") or {}
            for one in maps
        }
        return cls(
            pods=found,
            leaders={place: one.get("leader", "") for (place, name), one in notes.items() if name == LEADER},
            quorums={place: one for (place, name), one in notes.items() if name == SYNC},
        )

    def faults(self, objects: Sequence[Mapping[str, Any]]) -> list[str]:
        """Why these Tenants and VoiceRegions are not whole; empty when they are. Pure."""
        found: list[str] = []
        for obj in objects:
            name = obj["metadata"]["name"]
            if obj["kind"] == "VoiceRegion":
                found += edge_faults(self.pods.get((f"okitoki-region-{name}", "edge"), ()))
            elif obj["kind"] == "Tenant":
                namespace, wanted = f"tenant-{name}", obj["spec"]["database"]["instances"]
                members = self.pods.get((namespace, "postgres"), ())
                leader = self.leaders.get(namespace, "")
                of_tenant = database_faults(members, leader, wanted) or synchronous_faults(
                    self.quorums.get(namespace, {}), leader, wanted
                )
                found += [f"{name}: {fault}" for fault in of_tenant]
        return found


def _named(cluster: Cluster, name: str) -> list[Mapping[str, Any]]:
    """ConfigMaps of a name, in all namespaces."""
    asked = ("get", "configmaps", "-A", "--field-selector", f"metadata.name={name}", "-o", "json")
    found: list[Mapping[str, Any]] = json.loads(cluster.kubectl(*asked))["items"]
    return found


def platform_faults(cluster: Cluster, objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why the platform is not whole, as its servers themselves say; empty when it is."""
    return Snapshot.take(cluster).faults(objects)
