"""The tenant's namespace."""

from __future__ import annotations

from okitoki.kube import labels, names
from okitoki.kube.resources import Manifest


def namespace(tenant: str, uid: str) -> Manifest:
    """Of the Tenant with that name and uid. Pod Security `restricted`: nothing of a tenant needs more."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.tenant_namespace(tenant),
            "labels": {
                **labels.owned(tenant=tenant),
                labels.OWNER_UID: uid,
                **labels.pod_security("restricted"),
            },
        },
    }


def retained_namespace(tenant: str, uid: str, since: str) -> Manifest:
    """The same, marked: it keeps the data of a Tenant deleted at `since`. To apply it without the mark is to adopt."""
    marked = namespace(tenant, uid)
    marked["metadata"]["labels"][labels.RETAINED] = "true"
    marked["metadata"]["annotations"] = {labels.RETAINED_SINCE: since}
    return marked


def adopted_namespace(tenant: str, uid: str, namespace_uid: str) -> Manifest:
    """The Tenant `uid` takes over the namespace `namespace_uid`, in one write that fails when that one is gone."""
    taken = namespace(tenant, uid)
    taken["metadata"]["uid"] = namespace_uid
    return taken
