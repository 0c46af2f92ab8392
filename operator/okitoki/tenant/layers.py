"""Which of the two layers of taking calls is armed, and why not, and whether layer 1 is active: conditions without a
part in `Ready`, status and news. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from okitoki.api.tenant import Tenant
from okitoki.kube.times import rfc3339_of_epoch
from okitoki.reconcile.conditions import Condition
from okitoki.reconcile.kind import News
from okitoki.tenant.facts import Observed, landlines, without_landline

REASONS = {
    "NoRoutes": "the edge knows no agents for the number: the app gave it no routes, or the tenant is Restricted",
    "NoPhoneRegistered": "no phone of the queue is registered",
    "PhonesSilent": "the phones that are registered do not say a word",
    "PhoneAnswers": "a phone answers",
    "Unknown": "the edge does not say why",
}


def layers(tenant: Tenant, observed: Observed) -> list[Condition]:
    """Layer 1 and layer 2."""
    return [landline_armed(tenant, observed), carrier_forwarding_armed(tenant, observed), *landlines_active(observed)]


def landline_armed(tenant: Tenant, observed: Observed) -> Condition:
    """Layer 1: whether every number has a landline, and the edge of every region knows it."""
    kind, with_landline = "LandlineArmed", landlines(tenant, observed)
    without = without_landline(tenant, observed)
    if tenant.spec.state not in ("Active", "Restricted"):
        return _off(kind, "NotServed", f"spec.state is {tenant.spec.state}: calls get 480 and no landline rings")
    if tenant.spec.state == "Restricted" and without:
        # Then it is no last resort: no phone is asked.
        text = f"spec.state is Restricted: every call to {', '.join(without)} gets 480; set spec.backup.landlines"
        return replace(_off(kind, "RestrictedWithoutLandline", text), warning=True)
    if not with_landline:
        return _off(kind, "NoLandline", "a call is lost when no phone of the tenant answers: set spec.backup.landlines")
    if without:
        return _off(
            kind,
            "NumbersWithoutLandline",
            f"{', '.join(without)} would be lost when no phone answers: set spec.backup.landlines, or "
            "spec.numbers[].landlines of these",
        )
    waiting = [region for region in tenant.spec.regions if region not in observed.published]
    if waiting:
        return _off(kind, "NotPublished", f"the edge of {', '.join(waiting)} has not been told the landlines yet")
    if cut := [region for region in observed.regions if region.dead_trunks]:
        text = "; ".join(f"{region.name}: {', '.join(region.dead_trunks)}" for region in cut)
        return _off(
            kind,
            "NoTrunkAnswers",
            f"no trunk answers in {text}; landlines cannot be called from there: ask the carrier, and look at "
            "condition TrunkReachable of the VoiceRegion",
        )
    count = len(with_landline)
    when = "at every call" if tenant.spec.state == "Restricted" else "within 3 s when no phone answers"
    return Condition(
        kind,
        "True",
        "Armed",
        f"the edge calls a landline for {count} number{'' if count == 1 else 's'} {when}",
        optional=True,
    )


def carrier_forwarding_armed(tenant: Tenant, observed: Observed) -> Condition:
    """Layer 2: whether the carrier was said to forward. The platform cannot see the carrier's side."""
    kind = "CarrierForwardingArmed"
    if not tenant.spec.backup.carrier_forwarding:
        return _off(
            kind,
            "NotOrdered",
            "calls are lost while a region's whole edge is away: order forwarding on no answer, busy and unreachable "
            "from the carrier, then set spec.backup.carrierForwarding",
        )
    return Condition(
        kind,
        "True",
        "Declared",
        "spec.backup.carrierForwarding says that the carrier forwards on no answer, busy and unreachable; only a test "
        "call shows it",
        optional=True,
    )


def landlines_active(observed: Observed) -> list[Condition]:
    """`LandlinesActive`, only while calls go to landlines in a region."""
    active = [(r.name, r.landlines) for r in observed.regions if r.landlines and r.landlines.mode == "Landlines"]
    if not active:
        return []
    text = "; ".join(
        f"calls in region {region} go to landlines since {rfc3339_of_epoch(mode.since)}: {REASONS[mode.reason]}"
        for region, mode in active
    )
    return [Condition("LandlinesActive", "True", active[0][1].reason, text, abnormal=True)]


def backup_status(tenant: Tenant, observed: Observed, before: Mapping[str, Any]) -> dict[str, Any]:
    """`status.backup`. Of a region whose edge does not say anything now what it said last is kept."""
    armed = {"LandlineArmed": "Landlines", "CarrierForwardingArmed": "CarrierForwarding"}
    known = _landlines_told(before)
    for region in observed.regions:
        if (mode := region.landlines) is not None:
            known[region.name] = {
                "region": region.name,
                "mode": mode.mode,
                "since": rfc3339_of_epoch(mode.since),
                "reason": mode.reason,
                "switches": mode.switches,
            }
    found = [known[name] for name in tenant.spec.regions if name in known]
    conditions = landline_armed(tenant, observed), carrier_forwarding_armed(tenant, observed)
    return {"armed": [armed[c.type] for c in conditions if c.status == "True"], "landlines": found or None}


def layer_news(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[News]:
    """Each switch of a tenant's calls to landlines and back; several between two looks are told as one."""
    old = _landlines_told(before)
    found = []
    for item in _landlines_told(after).values():
        was = old.get(item["region"], {"mode": "Agents", "switches": 0})
        if (item["mode"], item["since"]) == (was["mode"], was.get("since")):
            continue
        away, times = item["mode"] == "Landlines", item["switches"] - was["switches"]
        way = "to landlines" if away else "to agents again"
        missed = (
            f", after {times} switches to landlines since the last word" if times > (was["mode"] == "Agents") else ""
        )
        text = f"calls in region {item['region']} go {way} since {item['since']}: {REASONS[item['reason']]}{missed}"
        found.append(News("LandlinesActive" if away else "AgentsActive", text, warning=away))
    return found


def _landlines_told(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """`status.backup.landlines` by region."""
    return {item["region"]: item for item in (status.get("backup") or {}).get("landlines") or []}


def _off(kind: str, reason: str, message: str) -> Condition:
    return Condition(kind, "False", reason, message, optional=True)
