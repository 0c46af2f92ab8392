"""Metrics of a Tenant, and what its two last statuses tell. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from okitoki.api.tenant import Tenant
from okitoki.database.switchover import parts_of
from okitoki.kube import labels
from okitoki.metrics.domain import Measures
from okitoki.reconcile.certificate import certificate_measures
from okitoki.reconcile.kind import News, Outcome
from okitoki.tenant.decide import SWITCH_OVER
from okitoki.tenant.facts import Observed
from okitoki.tenant.hibernation import running
from okitoki.tenant.layers import layer_news

FAILOVERS = "okitoki_tenant_database_failovers_total"
REBUILT = "okitoki_tenant_database_members_rebuilt_total"


def measures(tenant: Tenant, observed: Observed) -> Measures:
    """Nothing of a namespace that is somebody else's; no primary is missed in a database that shall not run."""
    if observed.namespace != "ours":
        return {}
    database, primary, wanted = observed.database, observed.database.primary, running(tenant, observed)
    found: dict[str, float | Mapping[str, float]] = {
        "okitoki_tenant_landlines_active": {
            region.name: float(region.landlines.mode == "Landlines") for region in observed.regions if region.landlines
        },
        "okitoki_tenant_database_members": float(database.in_order),
        "okitoki_tenant_database_members_wanted": float(wanted.database),
        "okitoki_tenant_app_pods": float(observed.app.ready),
        "okitoki_tenant_app_pods_wanted": float(wanted.app),
    }
    if wanted.database:
        found["okitoki_tenant_database_primary"] = float(primary is not None)
        found["okitoki_tenant_database_synchronous_standbys"] = float(len(database.voters))
    if primary and primary.timeline:
        found["okitoki_tenant_database_timeline"] = float(primary.timeline)
    return found | certificate_measures(observed.settings.authorities, observed.secrets.tls)


def last_primary(before: Mapping[str, Any], observed: Observed) -> str | None:
    """The member that takes writes, or took them last."""
    primary = observed.database.primary
    known: str | None = (before.get("database") or {}).get("lastPrimary")
    return primary.name if primary else known


def last_switchover(tenant: Tenant, observed: Observed, outcome: Outcome) -> Mapping[str, Any] | None:
    """What became of the request of this reconcile, else of the last one."""
    if SWITCH_OVER not in outcome.acted:
        known: Mapping[str, Any] | None = (outcome.before.get("database") or {}).get("lastSwitchover")
        return known
    primary, error = observed.database.primary, outcome.acted[SWITCH_OVER]
    requested = tenant.metadata.annotations[labels.SWITCHOVER]
    _, named = parts_of(requested)
    return {
        "requested": requested[:64],
        "succeeded": error is None,
        "message": (
            error or f"{primary.name if primary else ''} has given its role {f'to {named}' if named else 'away'}"
        )[:1024],
    }


def last_reinitialised(observed: Observed) -> Mapping[str, Any] | None:
    """The member that was made anew last because it got nowhere."""
    found = observed.reinitialised
    return {"member": found.member, "at": found.at, "message": found.reason} if found else None


def news(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[News]:
    """A change of the primary (while none takes writes nothing is told: the condition does that), of where calls go,
    and a member that is made anew."""
    old, new = before.get("database") or {}, after.get("database") or {}
    found = layer_news(before, after)
    if old.get("lastPrimary") and new.get("lastPrimary") and old["lastPrimary"] != new["lastPrimary"]:
        text = f"the primary of the database was {old['lastPrimary']} and is {new['lastPrimary']} now"
        found.append(News("PrimaryChanged", text, counter=FAILOVERS))
    anew = new.get("lastReinitialised")
    if anew and anew != old.get("lastReinitialised"):
        text = f"{anew['member']} is made anew from the primary: {anew['message']}"
        found.append(News("MemberReinitialised", text, warning=True))
    return found
