"""What a drill knows of the platform: which tenants and regions take part, and who does which work now."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from okitoki_chaos.cluster import ChaosError, Cluster, Pod, pods
from okitoki_chaos.driver import Driver
from okitoki_chaos.whole import APP, EDGE, HOLDS_SIP, PART_OF, POSTGRES, holder_of_sip, holders, primary

SYSTEM_NAMESPACE = "okitoki-system"
OPERATOR = "app.kubernetes.io/name=operator"
OPERATOR_LEASE = "okitoki-operator"
RESOURCES = "voiceregions.platform.oki-toki.net,tenants.platform.oki-toki.net"


@dataclass(frozen=True)
class Target:
    """One or more servers, or machines."""

    name: str
    pods: tuple[Pod, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def pod(self) -> Pod:
        if len(self.pods) != 1:
            raise ChaosError(f"{self.name}: one pod is wanted, not {len(self.pods)}")
        return self.pods[0]

    @property
    def node(self) -> str:
        if len(self.nodes) != 1:
            raise ChaosError(f"{self.name}: one node is wanted, not {len(self.nodes)}")
        return self.nodes[0]

    @property
    def title(self) -> str:
        what = ", ".join(pod.title for pod in self.pods) or ", ".join(self.nodes)
        return f"{self.name} ({what})"


@dataclass
class World:
    """A driver, and the resources that the drill is about (as their JSON)."""

    driver: Driver
    objects: Sequence[Mapping[str, Any]]
    random: random.Random = field(default_factory=random.Random)

    @classmethod
    def look(cls, driver: Driver, tenants: Sequence[str], regions: Sequence[str], seed: int) -> World:
        """Read the named resources; raises ChaosError when one is missing."""
        listed = json.loads(driver.cluster.kubectl("get", RESOURCES, "-o", "json"))["items"]
        wanted = {("Tenant", name) for name in tenants} | {("VoiceRegion", name) for name in regions}
        found = [obj for obj in listed if (obj["kind"], obj["metadata"]["name"]) in wanted]
        missing = wanted - {(obj["kind"], obj["metadata"]["name"]) for obj in found}
        if missing:
            raise ChaosError(f"there is no {' '.join(sorted(missing)[0])}")
        return cls(driver, found, random.Random(seed))  # noqa: S311

    @property
    def cluster(self) -> Cluster:
        return self.driver.cluster

    def names(self, kind: str) -> list[str]:
        return [obj["metadata"]["name"] for obj in self.objects if obj["kind"] == kind]

    def nodes(self) -> list[str]:
        """All nodes, the control plane among them."""
        return [item["metadata"]["name"] for item in self._items("nodes")]

    def control_plane(self) -> list[str]:
        label = "node-role.kubernetes.io/control-plane"
        return [item["metadata"]["name"] for item in self._items("nodes", "-l", label)]

    def _items(self, *what: str) -> list[Mapping[str, Any]]:
        items: list[Mapping[str, Any]] = json.loads(self.cluster.kubectl("get", *what, "-o", "json"))["items"]
        return items

    def namespaces_on(self, nodes: Sequence[str]) -> tuple[str, ...]:
        """Namespaces of the platform that have pods there; all of them when one is of the control plane."""
        items = self._items("pods", "-A", "-l", PART_OF)
        everywhere = bool(set(nodes) & set(self.control_plane()))
        return tuple(
            sorted(
                {item["metadata"]["namespace"] for item in items if everywhere or item["spec"].get("nodeName") in nodes}
            )
        )

    # Targets are found anew for each fault: yesterday's primary is today's standby.

    def target(self, expression: str, tenant: str, region: str) -> Target:
        """`primary`, `standby`, `standbys`, `members`, `app`, `apps`, `edge-sip`, `edge-other`, `edge-media`,
        `edges`, `operator-leader`, `operators`, `control-plane`, `all-nodes`, `node-of:X`.

        Raises ChaosError when nobody is in that place now.
        """
        kind, _, inner = expression.partition(":")
        if kind == "node-of":
            found = self.target(inner, tenant, region)
            return Target(expression, (), tuple(dict.fromkeys(pod.node for pod in found.pods)))
        if expression == "control-plane":
            return Target(expression, (), tuple(self.control_plane()))
        if expression == "all-nodes":
            return Target(expression, (), tuple(self.nodes()))
        if expression in {"primary", "standby", "standbys", "members"}:
            return self._member(expression, f"tenant-{tenant}")
        if expression == "app":
            return Target(expression, (self._pick(self._ready(f"tenant-{tenant}", APP), expression),))
        if expression == "apps":
            return Target(expression, tuple(self._ready(f"tenant-{tenant}", APP)))
        if expression in {"edge-sip", "edge-other", "edge-media", "edges"}:
            return self._edge(expression, f"okitoki-region-{region}")
        if expression in {"operator-leader", "operators"}:
            return self._operator(expression)
        raise ChaosError(f"{expression}: no such target")

    def _ready(self, namespace: str, selector: str) -> list[Pod]:
        return [pod for pod in pods(self.cluster, namespace, selector) if pod.stands]

    def _pick(self, found: Sequence[Pod], what: str) -> Pod:
        if not found:
            raise ChaosError(f"{what}: no such pod is ready")
        return self.random.choice(list(found))

    def _member(self, expression: str, namespace: str) -> Target:
        leader = primary(self.cluster, namespace)
        others = [pod for pod in self._ready(namespace, POSTGRES) if pod.name != leader.name]
        if expression == "primary":
            return Target(expression, (leader,))
        if expression == "members":
            return Target(expression, (leader, *others))
        if expression == "standbys":
            return Target(expression, tuple(others))
        return Target(expression, (self._pick(others, expression),))

    def _edge(self, expression: str, namespace: str) -> Target:
        if expression == "edge-sip":
            return Target(expression, (holder_of_sip(self.cluster, namespace),))
        ready = self._ready(namespace, EDGE)
        if expression == "edges":
            return Target(expression, tuple(ready))
        if expression == "edge-media":
            names = holders(ready)["media-1"]
            return Target(expression, (self._pick([pod for pod in ready if pod.name in names], expression),))
        others = [pod for pod in ready if pod.labels.get(HOLDS_SIP) != "true"]
        return Target(expression, (self._pick(others, expression),))

    def _operator(self, expression: str) -> Target:
        found = self._ready(SYSTEM_NAMESPACE, OPERATOR)
        if expression == "operators":
            return Target(expression, tuple(found))
        lease = json.loads(self.cluster.kubectl("get", "lease", OPERATOR_LEASE, "-n", SYSTEM_NAMESPACE, "-o", "json"))
        holder = str(lease["spec"].get("holderIdentity") or "")
        return Target(expression, (self._pick([pod for pod in found if holder.startswith(pod.name)], expression),))
