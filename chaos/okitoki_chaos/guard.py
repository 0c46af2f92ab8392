"""When a drill refuses: without consent, without a healthy quorum, beside another drill, on somebody else's cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.steps import Plan
from okitoki_chaos.whole import platform_faults
from okitoki_chaos.world import RESOURCES, World

CONSENT = "platform.oki-toki.net/chaos"
ALLOWED = "allowed"


class Refused(ChaosError):
    """A drill that must not begin; says what is missing."""


def consenting(namespaces: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]]) -> set[str]:
    """Namespaces that carry the opt-in label, or whose Tenant or VoiceRegion does. Pure."""
    prefix = {"Tenant": "tenant-", "VoiceRegion": "okitoki-region-"}
    found = {obj["metadata"]["name"] for obj in namespaces if consents(obj)}
    return found | {f"{prefix[obj['kind']]}{obj['metadata']['name']}" for obj in resources if consents(obj)}


def consents(obj: Mapping[str, Any]) -> bool:
    """Whether an object carries the label itself. Pure."""
    return bool(obj["metadata"].get("labels", {}).get(CONSENT) == ALLOWED)


def refusal(plan: Plan, consent: set[str], faults: Sequence[str]) -> str | None:
    """Why a plan must not be carried out, or None. Pure."""
    missing = sorted(set(plan.namespaces) - consent)
    if missing:
        return f"{', '.join(missing)}: neither namespace nor resource carries the label {CONSENT}={ALLOWED}"
    if not plan.namespaces:
        return "it is not known whom this concerns, so nobody can have agreed to it"
    return f"not everything is well before: {'; '.join(faults)}" if faults else None


def require(world: World, plan: Plan) -> None:
    """Raise Refused unless everybody concerned agreed and the quorum is healthy."""
    namespaces = json.loads(world.cluster.kubectl("get", "namespaces", "-o", "json"))["items"]
    resources = json.loads(world.cluster.kubectl("get", RESOURCES, "-o", "json"))["items"]
    faults = platform_faults(world.cluster, world.objects)
    if why := refusal(plan, consenting(namespaces, resources), faults):
        raise Refused(f"refusing {plan.fault} on {plan.target}: {why}")
