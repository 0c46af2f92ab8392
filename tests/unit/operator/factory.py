"""Values that the operator's unit tests start from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from okitoki.api.tenant import Tenant
from okitoki.database.state import DatabaseState, Member
from okitoki.kube.authority import Authorities, AuthoritySet
from okitoki.kube.pki import Authority, new_authority
from okitoki.tenant.facts import AppState, Observed, RegionFacts, Secrets, Settings, Volumes
from okitoki.tenant.secrets import fill

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
AUTHORITY = Authority(new_authority(NOW))
AUTHORITIES = Authorities(AuthoritySet(AUTHORITY))
KYIV = RegionFacts("kyiv", "kyiv.okitoki.test", "okitoki-region-kyiv", True, ("198.18.1.2/32", "198.18.1.3/32"))


def a_tenant(**spec: Any) -> Tenant:
    """Tenant acme in kyiv."""
    return Tenant.model_validate(
        {
            "metadata": {"name": "acme", "uid": "uid-1", "generation": 4},
            "spec": {
                "displayName": "Acme",
                "regions": ["kyiv"],
                "numbers": [{"number": "+380441234567", "queue": "sales"}],
                **spec,
            },
        }
    )


def member(name: str, role: str = "replica", **changes: Any) -> Member:
    """A database member that is in order."""
    state = "running" if role == "primary" else "streaming"
    return replace(Member(name, role, state, True, "198.19.0.1", ""), **changes)


def a_database(**changes: Any) -> DatabaseState:
    """A database that is in order."""
    members = (member("postgres-0", "primary"), member("postgres-1"), member("postgres-2"))
    return replace(DatabaseState(members, ("postgres-1", "postgres-2")), **changes)


def what_is_observed(tenant: Tenant | None = None, **changes: Any) -> Observed:
    """All is well, secrets are made, the app has the numbers."""
    tenant = tenant or a_tenant()
    numbers = [{"number": n.number, "queue": n.queue} for n in tenant.spec.numbers]
    observed = Observed(
        settings=Settings("okitoki-system", "app:1", "postgres:1", AUTHORITIES.latest),
        namespace="ours",
        regions=(KYIV,),
        secrets=Secrets(),
        database=a_database(),
        dynamic_configuration={},
        database_exists=False,
        volumes=Volumes(),
        app=AppState(ready=2, updated=2),
        claimed={},
        published=frozenset({"kyiv"}),
        profile={"name": "acme", "displayName": "Acme", "numbers": numbers},
    )
    return replace(fill(tenant, observed, AUTHORITY, NOW), **changes)
