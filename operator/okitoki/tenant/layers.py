"""Which of the two layers of taking calls is armed, and why not: conditions without a part in `Ready`. Pure."""

from __future__ import annotations

from dataclasses import replace

from okitoki.api.tenant import Tenant
from okitoki.reconcile.conditions import Condition
from okitoki.tenant.facts import Observed, landlines, without_landline


def layers(tenant: Tenant, observed: Observed) -> list[Condition]:
    """Layer 1 and layer 2."""
    return [landline_armed(tenant, observed), carrier_forwarding_armed(tenant, observed)]


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


def _off(kind: str, reason: str, message: str) -> Condition:
    return Condition(kind, "False", reason, message, optional=True)
