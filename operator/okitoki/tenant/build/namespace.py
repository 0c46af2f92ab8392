"""The tenant's namespace."""

from __future__ import annotations

from okitoki.api.tenant import Tenant
from okitoki.kube import labels, names
from okitoki.kube.resources import Manifest


def namespace(tenant: Tenant) -> Manifest:
    """Pod Security `restricted`: nothing of a tenant needs more."""
    name = tenant.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.tenant_namespace(name),
            "labels": {
                **labels.owned(tenant=name),
                labels.OWNER_UID: tenant.metadata.uid,
                **labels.pod_security("restricted"),
            },
        },
    }
