"""The region's namespace."""

from __future__ import annotations

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels, names
from okitoki.kube.resources import PLATFORM_GROUP, Manifest
from okitoki.voiceregion.facts import Observed

SLOT = f"{PLATFORM_GROUP}/region-slot"
USED_NODES = f"{PLATFORM_GROUP}/edge-nodes"
POD_SECURITY_REASON = f"{PLATFORM_GROUP}/pod-security-reason"
WHY_PRIVILEGED = (
    "The edge is on the host network: SIP and RTP do not survive kube-proxy, and its addresses move between nodes by "
    "VRRP. An init container sets sysctls that the kubelet refuses to host-network pods; guard and keepalived have "
    "NET_ADMIN."
)


def namespace(region: VoiceRegion, observed: Observed) -> Manifest:
    """Pod Security `privileged`, and why; what must outlive the pods: the region's slot and the nodes it has used."""
    name = region.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.region_namespace(name),
            "labels": {
                **labels.owned(region=name),
                labels.OWNER_UID: region.metadata.uid,
                **labels.pod_security("privileged"),
            },
            "annotations": {
                POD_SECURITY_REASON: WHY_PRIVILEGED,
                SLOT: str(observed.slot),
                USED_NODES: ",".join(observed.used_nodes),
            },
        },
    }
