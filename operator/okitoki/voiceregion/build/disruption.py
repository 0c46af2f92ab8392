"""The edge's disruption budget."""

from __future__ import annotations

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube.resources import Manifest
from okitoki.voiceregion.build.common import EDGE, edge_selector, metadata


def disruption_budget(region: VoiceRegion) -> Manifest:
    """One node at a time; a broken pod never blocks the drain of its node."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(region, EDGE),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": edge_selector(region)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
