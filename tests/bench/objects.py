"""The objects that both operators make for a Tenant, by the operator's own builders. Pure."""

from __future__ import annotations

from datetime import datetime

from okitoki.api.tenant import Tenant
from okitoki.database.state import DatabaseState
from okitoki.kube import names
from okitoki.kube.authority import AuthoritySet
from okitoki.kube.pki import Authority
from okitoki.kube.resources import Manifest
from okitoki.tenant.build import build
from okitoki.tenant.facts import AppState, Observed, RegionFacts, Secrets, Settings, Volumes
from okitoki.tenant.secrets import fill

REGION = "kyiv"
DOMAIN = f"{REGION}.okitoki.test"
OPERATOR_NAMESPACE = "okitoki-system"
IMAGES = {"APP": "app:1", "POSTGRES": "postgres:1", "EDGE": "edge:1"}
PLACEHOLDER_NAME = "placeholder-tenant"
PLACEHOLDER_UID = "00000000-0000-4000-8000-000000000000"
"""What the peer replaces by a Tenant's own (tests/bench/peer)."""


def tenant_spec(number: int) -> Manifest:
    """The spec of the n-th Tenant."""
    return {
        "displayName": f"Tenant {number}",
        "regions": [REGION],
        "numbers": [{"number": f"+38044{number:07d}", "queue": "sales"}],
        "app": {"replicas": 2},
        "database": {"instances": 3, "storage": {"size": "1Gi"}},
    }


def objects_of_a_tenant(authority: Authority, now: datetime) -> list[Manifest]:
    """All of them, in order, with placeholders for name and uid."""
    tenant = Tenant.model_validate(
        {"metadata": {"name": PLACEHOLDER_NAME, "uid": PLACEHOLDER_UID, "generation": 1}, "spec": tenant_spec(0)}
    )
    observed = Observed(
        settings=Settings(OPERATOR_NAMESPACE, IMAGES["APP"], IMAGES["POSTGRES"], AuthoritySet(authority)),
        namespace="ours",
        regions=(RegionFacts(REGION, DOMAIN, names.region_namespace(REGION), True, ("198.18.1.2/32",)),),
        secrets=Secrets(),
        database=DatabaseState((), ()),
        dynamic_configuration=None,
        database_exists=False,
        volumes=Volumes(),
        app=AppState(),
        claimed={},
        published=frozenset(),
    )
    return build(tenant, fill(tenant, observed, authority, now))
