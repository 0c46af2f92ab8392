"""Metrics of a VoiceRegion, and what its two last statuses tell. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from okitoki.metrics.domain import Measures
from okitoki.reconcile.certificate import certificate_measures
from okitoki.reconcile.kind import News
from okitoki.voiceregion.conditions import holders
from okitoki.voiceregion.facts import REPLICAS, Observed
from okitoki.voiceregion.trunks import trunk_news, trunks

MOVES = "okitoki_region_address_moves_total"


def measures(observed: Observed) -> Measures:
    """Nothing of a namespace that is somebody else's."""
    if observed.namespace != "ours":
        return {}
    pods = observed.pods
    serving = [pod for pod in pods if pod.ready and not pod.terminating]
    found: dict[str, float | Mapping[str, float]] = {
        "okitoki_region_edge_protected": float(len(serving) == REPLICAS and all(pod.protected for pod in serving)),
        "okitoki_region_edge_pods": float(len(serving)),
        "okitoki_region_address_holders": {name: float(len(pods)) for name, pods in holders(pods).items()},
        "okitoki_region_dead_letters": float(sum(pod.dead_letters for pod in pods)),
        "okitoki_region_trunk_answers": {
            trunk.host: float(not trunk.dead) for trunk in trunks(pods) if trunk.state != "Unproven"
        },
    }
    return found | certificate_measures(observed.authorities, observed.secrets.tls)


def last_holders(before: Mapping[str, Any], observed: Observed) -> dict[str, str]:
    """Which pod holds each address, or held it last; of an address that two claim, the one that had it."""
    now = {name: pods[0] for name, pods in holders(observed.pods).items() if len(pods) == 1}
    return {**(before.get("lastHolders") or {}), **now}


def news(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[News]:
    """Moves of addresses, trunks that died or answer; that a node can be serviced, and no longer."""
    old, new = before.get("lastHolders") or {}, after.get("lastHolders") or {}
    return [
        *trunk_news(before, after),
        *_drains(before.get("drain") or {}, after.get("drain") or {}),
        *_moves(old, new),
    ]


def _drains(old: Mapping[str, str], new: Mapping[str, str]) -> list[News]:
    if new.get("state") == "Drained" and (old.get("state"), old.get("node")) != ("Drained", new["node"]):
        return [News("EdgeDrained", new["message"])]
    if old and old.get("node") != new.get("node"):
        return [News("EdgeDrainEnded", f"the edge pod on {old['node']} may hold addresses again")]
    return []


def _moves(old: Mapping[str, str], new: Mapping[str, str]) -> list[News]:
    return [
        News("AddressMoved", f"the {name} address was on {old[name]} and is on {pod} now", counter=MOVES)
        for name, pod in new.items()
        if old.get(name, pod) != pod
    ]
