"""What the builders of a region's objects share."""

from __future__ import annotations

from typing import Any

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels, names

EDGE = "edge"
REGION_CONFIG_MAP = "edge-region"
REGION_FILE = "region.json"
EDGE_SECRETS = "edge-secrets"
EDGE_TLS = "edge-tls"
EDGE_TUNNEL = "edge-tunnel"


def metadata(region: VoiceRegion, name: str, component: str | None = EDGE) -> dict[str, Any]:
    """`metadata` of an object in the region's namespace."""
    owner = region.metadata.name
    return {
        "name": name,
        "namespace": names.region_namespace(owner),
        "labels": labels.owned(component, region=owner),
    }


def edge_selector(region: VoiceRegion) -> dict[str, str]:
    """Labels that select the edge's pods."""
    return labels.selector(EDGE, region=region.metadata.name)
