"""What is known of a region when its objects are built and its state is judged: plain values, no client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from okitoki.kube import names
from okitoki.kube.authority import AuthoritySet
from okitoki.kube.edge_report import DEAD_TRUNK, TrunkState
from okitoki.kube.ownership import NamespaceState
from okitoki.kube.pki import KeyPair
from okitoki.reconcile.certificate import InUse

REPLICAS = 2
"""Nodes of an edge: one carries, the other takes over."""
ADDRESSES = ("sip", "https", "media-1", "media-2")
EDGE_KEYS = ("redis-password", "nonce-secret")

Values = Mapping[str, str]
"""Keys and values of a Secret, decoded."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """A host of a carrier as the edge sees it. `since`: epoch seconds, 0 while it is unproven; `code`: SIP status of
    the answer with which the state began."""

    host: str
    carrier: str
    state: TrunkState
    since: int
    code: int | None

    @property
    def dead(self) -> bool:
        """Whether the edge leaves it out while another one lives."""
        return self.state in DEAD_TRUNK


@dataclass(frozen=True, slots=True)
class EdgePod:
    """A pod of the edge. What follows `problem` is the word of its agent, empty when there is none."""

    name: str
    uid: str
    node: str = ""
    revision: str = ""
    ready: bool = False
    terminating: bool = False
    problem: str = ""
    holds: tuple[str, ...] = ()
    since: Mapping[str, float] = field(default_factory=dict)
    """When the node got or lost an address (epoch seconds); nothing for those that it has not had."""
    peer_answers: bool = False
    protected: bool = False
    unprotected_because: tuple[str, ...] = ()
    dead_letters: int = 0
    trunks: tuple[Trunk, ...] = ()
    """Only the node with the SIP address knows them."""
    certificate: str = ""
    """Id of the one that HAProxy shows."""
    authorities: frozenset[str] = frozenset()
    """Ids of those that HAProxy trusts."""
    drained: bool = False
    """The agent knows that the node is serviced."""
    drain: bool = False
    """The operator's mark for that (`labels.DRAIN`)."""

    @property
    def ordinal(self) -> int:
        """Its number in the StatefulSet."""
        return int(self.name.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class Workload:
    """The live StatefulSet. `revision`: of its newest template; empty until its controller has seen that."""

    exists: bool = False
    revision: str = ""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node: its addresses and the ranges of its pods."""

    name: str
    addresses: tuple[str, ...]
    pod_ranges: tuple[str, ...] = ()
    matches: bool = False
    """The region's nodeSelector selects it."""
    ready: bool = True


@dataclass(frozen=True, slots=True)
class RegionClaim:
    """What another region has that this one must not. `older`: it came first and keeps it."""

    name: str
    domain: str
    addresses: tuple[str, ...]
    older: bool


@dataclass(frozen=True, slots=True)
class Secrets:
    """Contents of the region's Secrets; empty where there is none yet."""

    edge: Values = field(default_factory=dict)
    tls: KeyPair | None = None
    tunnel: Values = field(default_factory=dict)

    def __repr__(self) -> str:
        return "Secrets(…)"


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a reconcile of a region knows."""

    image: str
    authorities: AuthoritySet
    namespace: NamespaceState
    now: float
    """Epoch seconds."""
    slot: int
    """Which set of ports, router ids and alias addresses the region has (`allocation.py`)."""
    secrets: Secrets = field(default_factory=Secrets)
    pods: tuple[EdgePod, ...] = ()
    workload: Workload = Workload()
    nodes: tuple[NodeFacts, ...] = ()
    used_nodes: tuple[str, ...] = ()
    """Every node that ever ran a pod of the edge: they are swept when the region goes."""
    others: tuple[RegionClaim, ...] = ()
    tenants: int = 0
    trusted: frozenset[str] | None = None
    """Authorities that the region's ConfigMap names; None without one."""

    @property
    def use(self) -> InUse:
        """What the pods' agents say of HAProxy; a pod without a node yet reads what is there once it has one."""
        placed = [pod for pod in self.pods if pod.node]
        bundle = {} if self.trusted is None else {f"ConfigMap {names.CA_CONFIG_MAP}": self.trusted}
        return InUse(
            shown={pod.name: pod.certificate for pod in placed},
            trusted=bundle | {pod.name: pod.authorities for pod in placed},
        )
