"""What an edge's agent says in its pod's annotation (docs/interfaces.md, "agent"). Pure; nothing in it is trusted to be
of its form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from okitoki.kube import labels
from okitoki.kube.resources import Manifest, annotation

Mode = Literal["Agents", "Landlines"]
TrunkState = Literal["Answers", "Silent", "Refuses", "Unproven"]
DEAD_TRUNK: frozenset[TrunkState] = frozenset({"Silent", "Refuses"})
"""The edge leaves such a trunk out while another one lives."""

_MODES: Mapping[Any, Mode] = {"agents": "Agents", "landlines": "Landlines"}
_REASONS = {
    "no-routes": "NoRoutes",
    "none-registered": "NoPhoneRegistered",
    "phones-silent": "PhonesSilent",
    "phone-answers": "PhoneAnswers",
}


@dataclass(frozen=True, slots=True)
class LandlineMode:
    """Where a tenant's calls go at an edge: `since` in epoch seconds, `switches` to landlines so far."""

    mode: Mode
    since: int
    reason: str
    switches: int


def edge_report(pod: Manifest) -> dict[str, Any]:
    """The agent's document, empty when there is none."""
    try:
        found = json.loads(annotation(pod, labels.EDGE_STATUS) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def landline_modes(pod: Manifest) -> dict[str, LandlineMode]:
    """By tenant, of those whose calls ever went to landlines; only the node with the SIP address knows."""
    said, found = edge_report(pod).get("landlines"), {}
    for tenant, item in said.items() if isinstance(said, dict) else ():
        mode = _MODES.get(item.get("mode")) if isinstance(item, dict) else None
        if mode is not None:
            reason = _REASONS.get(item.get("why"), "Unknown")
            found[tenant] = LandlineMode(mode, int(item.get("since") or 0), reason, int(item.get("switches") or 0))
    return found
