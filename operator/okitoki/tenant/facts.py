"""What is known of a tenant when its objects are built and its state is judged: plain values, no client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from okitoki.api.tenant import Number, Tenant
from okitoki.database.rebuild import Losses
from okitoki.database.reinitialised import Reinitialised
from okitoki.database.state import DatabaseState
from okitoki.kube import names
from okitoki.kube.authority import AuthoritySet
from okitoki.kube.edge_report import LandlineMode
from okitoki.kube.ownership import NamespaceState
from okitoki.kube.pki import KeyPair
from okitoki.kube.resources import Manifest
from okitoki.reconcile.certificate import InUse

DATABASE_KEYS = ("superuser-password", "replication-password", "app-password", "rest-password")
APP_KEYS = ("platform-token", "edge-token")
ADMIN_KEYS = ("key",)

Values = Mapping[str, str]
"""Keys and values of a Secret, decoded."""


@dataclass(frozen=True, slots=True)
class RegionFacts:
    """A region that the tenant names; `domain` is empty when there is no such region."""

    name: str
    domain: str = ""
    namespace: str = ""
    namespace_ready: bool = False
    """The region's namespace exists and is the region's."""
    node_blocks: tuple[str, ...] = ()
    """CIDRs from which processes of the region's nodes reach pods."""
    dead_trunks: tuple[str, ...] = ()
    """All hosts of the region's carriers, with their states, when none of them takes calls."""
    landlines: LandlineMode | None = None
    """Where the tenant's calls go there; None while its edge does not say, or they never went to landlines."""

    @property
    def exists(self) -> bool:
        """Whether there is such a VoiceRegion."""
        return bool(self.domain)


@dataclass(frozen=True, slots=True)
class AppState:
    """Pods of the app."""

    ready: int = 0
    updated: int = 0
    problem: str = ""
    pods: int = 0
    """All that exist, also those that start or end."""


@dataclass(frozen=True, slots=True)
class Volumes:
    """The members' volumes."""

    template_size: str = ""
    """Size in the live StatefulSet's template, which cannot be changed; empty without one."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Requested bytes of each volume claim."""
    expandable: bool = False
    """Whether their storage class can grow volumes."""


@dataclass(frozen=True, slots=True)
class Retained:
    """Data of a deleted Tenant: `owner` is its uid, `since` when it was deleted (RFC 3339)."""

    owner: str
    since: str
    namespace_uid: str
    volumes: Mapping[str, int]
    """Requested bytes of each member's volume claim."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Contents of the tenant's Secrets; empty where there is none yet."""

    database: Values = field(default_factory=dict)
    app: Values = field(default_factory=dict, repr=False)
    admin: Values = field(default_factory=dict, repr=False)
    tls: KeyPair | None = None

    def __repr__(self) -> str:
        return "Secrets(…)"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with."""

    operator_namespace: str
    app_image: str
    postgres_image: str
    authorities: AuthoritySet


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a reconcile of a tenant knows."""

    settings: Settings
    namespace: NamespaceState
    regions: tuple[RegionFacts, ...]
    secrets: Secrets
    database: DatabaseState
    dynamic_configuration: Mapping[str, Any] | None
    """Patroni's dynamic configuration in its store; None before the cluster was made."""
    database_exists: bool
    """There is a StatefulSet or a volume: passwords must not be made anew."""
    volumes: Volumes
    app: AppState
    claimed: Mapping[str, str]
    """Numbers of this tenant that an older tenant has: number to that tenant."""
    published: frozenset[str]
    """Regions that hold the tenant's edge Secret."""
    profile: Mapping[str, Any] | None = None
    """What the app says the tenant is; None when it was not asked or did not answer."""
    profile_error: str = ""
    losses: Losses = field(default_factory=Losses)
    """Members of the database whose node is lost."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    database_replicas: int | None = None
    """Members that the live StatefulSet asks for; None without one."""
    stop_announced: bool = False
    """The members know that all of them stop."""
    use: InUse = field(default_factory=InUse)
    """Which certificate the app shows, and what is trusted in the namespace."""
    reinitialised: Reinitialised | None = None
    """The member whose data were copied anew last."""
    retained: Retained | None = None
    """What a namespace of the tenant's name keeps of an earlier tenant; it is `foreign` until it is adopted."""

    @property
    def passwords_lost(self) -> bool:
        """The database exists, and the Secret with its passwords does not or lacks some."""
        return self.database_exists and not set(DATABASE_KEYS) <= set(self.secrets.database)


def accepted_numbers(tenant: Tenant, observed: Observed) -> list[Number]:
    """The tenant's numbers that no older tenant claims."""
    return [number for number in tenant.spec.numbers if number.number not in observed.claimed]


def landlines(tenant: Tenant, observed: Observed) -> dict[str, list[str]]:
    """Landlines by number, of those that have any: the number's own, else the tenant's."""
    found = {n.number: n.landlines or tenant.spec.backup.landlines for n in accepted_numbers(tenant, observed)}
    return {number: list(own) for number, own in sorted(found.items()) if own}


def without_landline(tenant: Tenant, observed: Observed) -> list[str]:
    """Numbers whose calls are lost when no phone of the tenant answers."""
    return sorted({number.number for number in accepted_numbers(tenant, observed)} - set(landlines(tenant, observed)))


def hosts(tenant: Tenant, observed: Observed) -> list[str]:
    """Host names in the regions that exist, home first."""
    return [names.tenant_host(tenant.metadata.name, region.domain) for region in observed.regions if region.exists]


def wanted_profile(tenant: Tenant, observed: Observed) -> dict[str, Any]:
    """The body of `PUT /platform/v1/tenant`. A restriction is named only while there is one: an app of before, which is
    asked during an upgrade, knows no such field."""
    restricted = {"restricted": True} if tenant.spec.state == "Restricted" else {}
    return {
        "name": tenant.metadata.name,
        "displayName": tenant.spec.display_name,
        "numbers": [{"number": n.number, "queue": n.queue} for n in accepted_numbers(tenant, observed)],
        **restricted,
    }


def same_profile(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two profiles say the same, whatever the order of the numbers."""

    def key(profile: Mapping[str, Any]) -> Any:
        numbers = sorted((n.get("number"), n.get("queue")) for n in profile.get("numbers") or [])
        return profile.get("name"), profile.get("displayName"), numbers, profile.get("restricted", False)

    return bool(key(one) == key(other))


def claimed_numbers(tenant: Manifest, others_by_age: list[Manifest]) -> dict[str, str]:
    """Numbers of `tenant` that an older one has, with its name; the oldest tenant of a number keeps it.

    A tenant that is being deleted claims nothing any more.
    """
    own = {item["number"] for item in tenant["spec"].get("numbers") or []}
    claimed: dict[str, str] = {}
    for other in others_by_age:
        if other["metadata"]["name"] == tenant["metadata"]["name"]:
            break
        if other["metadata"].get("deletionTimestamp"):
            continue
        for item in (other.get("spec") or {}).get("numbers") or []:
            if item.get("number") in own:
                claimed.setdefault(item["number"], other["metadata"]["name"])
    return claimed
