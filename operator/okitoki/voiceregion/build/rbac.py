"""What the edge's agent may do in the region's namespace; tenants grant what it may see of theirs."""

from __future__ import annotations

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import names
from okitoki.kube.resources import Manifest
from okitoki.voiceregion.build.common import metadata


def service_account(region: VoiceRegion) -> Manifest:
    """Of the edge's pods; only the agent's container gets its token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(region, names.EDGE_SERVICE_ACCOUNT),
        "automountServiceAccountToken": False,
    }


def role(region: VoiceRegion) -> Manifest:
    """Read tenants and the certificate, find the peer, report on the own pod."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(region, names.EDGE_SERVICE_ACCOUNT),
        "rules": [
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"]},
        ],
    }


def role_binding(region: VoiceRegion) -> Manifest:
    """Gives the Role to the ServiceAccount."""
    subject = metadata(region, names.EDGE_SERVICE_ACCOUNT)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(region, names.EDGE_SERVICE_ACCOUNT),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": names.EDGE_SERVICE_ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": subject["name"], "namespace": subject["namespace"]}],
    }
