"""Network policies of the tenant's namespace; the database has one of its own."""

from __future__ import annotations

from typing import Any

from okitoki.api.tenant import Tenant
from okitoki.kube import names
from okitoki.kube.resources import Manifest
from okitoki.tenant.build.common import app_selector, metadata
from okitoki.tenant.facts import Observed


def default_deny(tenant: Tenant) -> Manifest:
    """Nothing reaches a pod of the namespace unless another policy says so."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(tenant, "default-deny", None),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }


def app_policy(tenant: Tenant, observed: Observed) -> Manifest:
    """Who may reach the app: the operator, and the nodes of the tenant's regions.

    The edge runs on host network, where no pod selector can name it: its nodes' addresses do.
    """
    blocks = sorted({block for region in observed.regions for block in region.node_blocks})
    operator_namespace = {"kubernetes.io/metadata.name": observed.settings.operator_namespace}
    sources: list[dict[str, Any]] = [{"namespaceSelector": {"matchLabels": operator_namespace}}]
    sources += [{"ipBlock": {"cidr": block}} for block in blocks]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(tenant, names.APP),
        "spec": {
            "podSelector": {"matchLabels": app_selector(tenant)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": sources, "ports": [{"protocol": "TCP", "port": names.APP_PORT}]}],
        },
    }
