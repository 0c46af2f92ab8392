"""Metrics of the platform: what the leader knows of each Tenant and VoiceRegion after its last reconcile.

Series are kept as plain values by object and turned into metrics at a scrape, so an object that is gone takes all of
its series with it, and a reconcile costs one entry in a dict. Labels: names of resources, the four addresses of a
region and its carriers' hosts; all are bounded by the objects, and none can hold a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Owner = tuple[str, str]
"""Kind and name of a Tenant or VoiceRegion, or `Authority` and the name of its Secret."""
Measures = Mapping[str, float | Mapping[str, float]]
"""Value by name of a metric; by value of the further label where the metric has one."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of the platform; `further` is a label besides the object's name."""

    help: str
    kind: Literal["Tenant", "VoiceRegion", "Authority", ""]
    """Whose it is; empty: anybody's, who is then told by two labels, `kind` and `name`."""
    further: str = ""
    counter: bool = False


LABELS = {"Tenant": "tenant", "VoiceRegion": "region", "Authority": "authority"}

FAMILIES: Mapping[str, Family] = {
    "okitoki_tenant_ready": Family("1 if the Tenant's condition Ready is True.", "Tenant"),
    "okitoki_tenant_stalled": Family("1 while the Tenant's spec cannot be acted on.", "Tenant"),
    "okitoki_tenant_database_primary": Family("1 while a member takes writes.", "Tenant"),
    "okitoki_tenant_database_members": Family("Members of the database that are in order.", "Tenant"),
    "okitoki_tenant_database_members_wanted": Family("Members that the spec asks for.", "Tenant"),
    "okitoki_tenant_database_synchronous_standbys": Family(
        "Standbys of which a commit waits for some; with 0 writes wait.", "Tenant"
    ),
    "okitoki_tenant_database_timeline": Family("PostgreSQL's timeline: each promotion begins a new one.", "Tenant"),
    "okitoki_tenant_database_failovers_total": Family(
        "Changes of the primary seen by this replica.", "Tenant", counter=True
    ),
    "okitoki_tenant_database_members_rebuilt_total": Family(
        "Members made anew because their node was lost.", "Tenant", counter=True
    ),
    "okitoki_tenant_app_pods": Family("Pods of the app that are ready.", "Tenant"),
    "okitoki_tenant_app_pods_wanted": Family("Pods of the app that the spec asks for.", "Tenant"),
    "okitoki_tenant_landlines_active": Family(
        "1 while the tenant's calls in the region go to landlines, 0 once they go to agents again.", "Tenant", "region"
    ),
    "okitoki_region_ready": Family("1 if the VoiceRegion's condition Ready is True.", "VoiceRegion"),
    "okitoki_region_stalled": Family("1 while the VoiceRegion's spec cannot be acted on.", "VoiceRegion"),
    "okitoki_region_edge_protected": Family("1 if the loss of either node would cost no call.", "VoiceRegion"),
    "okitoki_region_edge_pods": Family("Pods of the edge that are ready; 2 are wanted.", "VoiceRegion"),
    "okitoki_region_address_holders": Family(
        "Nodes that hold the address: 0 is an outage, 2 for long a split network.", "VoiceRegion", "address"
    ),
    "okitoki_region_address_moves_total": Family(
        "Moves of addresses between the nodes seen by this replica.", "VoiceRegion", counter=True
    ),
    "okitoki_region_trunk_answers": Family(
        "1 if the carrier's host answers OPTIONS, 0 if it is silent or refuses; nothing while it never has.",
        "VoiceRegion",
        "host",
    ),
    "okitoki_region_dead_letters": Family("Call records that a tenant's app refused for good.", "VoiceRegion"),
    "okitoki_certificate_expiry_seconds": Family(
        "When the certificate of an app, a region or the authority that issues them ends (epoch seconds).", ""
    ),
    "okitoki_authority_rotating": Family("1 while an authority is being replaced by its successor.", "Authority"),
}


class Series:
    """What is known of every object; a collector of prometheus_client."""

    def __init__(self) -> None:
        self._measures: dict[Owner, Measures] = {}
        self._counts: dict[Owner, dict[str, float]] = {}

    def put(self, owner: Owner, measures: Measures) -> None:
        """Replace what is known of an object; its counters go on.

        Raises:
            KeyError: for a name that is not a metric of the object's kind.
        """
        if strange := [name for name in measures if FAMILIES[name].kind not in (owner[0], "")]:
            raise KeyError(f"{owner[0]} has no metric {strange[0]}")
        self._measures[owner] = measures
        self._counts.setdefault(
            owner, {name: 0.0 for name, family in FAMILIES.items() if family.counter and family.kind == owner[0]}
        )

    def count(self, owner: Owner, name: str) -> None:
        """Something counted happened to an object."""
        self.put(owner, self._measures.get(owner, {}))
        self._counts[owner][name] += 1

    def drop(self, owner: Owner) -> None:
        """The object is gone."""
        self._measures.pop(owner, None)
        self._counts.pop(owner, None)

    def describe(self) -> list[Metric]:
        """Names, for the registry."""
        return list(_empty().values())

    def collect(self) -> Iterator[Metric]:
        """All series. Called in a thread: works on copies that are made in one step each."""
        families = _empty()
        for known in (tuple(self._measures.items()), tuple(self._counts.items())):
            for (kind, name), measures in known:
                for metric, value in tuple(measures.items()):
                    family = families[metric]
                    owner = (name,) if FAMILIES[metric].kind else (LABELS[kind], name)
                    if isinstance(value, Mapping):
                        for further, inner in value.items():
                            family.add_metric((*owner, further), inner)
                    else:
                        family.add_metric(owner, value)
        yield from families.values()


def _empty() -> dict[str, GaugeMetricFamily | CounterMetricFamily]:
    return {name: _family(name, family) for name, family in FAMILIES.items()}


def _family(name: str, family: Family) -> GaugeMetricFamily | CounterMetricFamily:
    owner = [LABELS[family.kind]] if family.kind else ["kind", "name"]
    labels = [*owner, *([family.further] if family.further else [])]
    if family.counter:
        return CounterMetricFamily(name.removesuffix("_total"), family.help, labels=labels)
    return GaugeMetricFamily(name, family.help, labels=labels)
