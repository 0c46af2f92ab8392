"""Deletion of a tenant: first the edge forgets it, then its namespace goes."""

from __future__ import annotations

from okitoki.kube import labels, names
from okitoki.kube.ownership import namespace_state
from okitoki.kube.resources import NAMESPACE, SECRET, Manifest
from okitoki.reconcile.kind import Context


async def finalize(ctx: Context, raw: Manifest) -> str | None:
    """What is still awaited, or None when all is gone. A namespace that is not this tenant's is left alone."""
    name, uid = raw["metadata"]["name"], raw["metadata"]["uid"]
    for region in sorted(ctx.index.regions):
        selector = {labels.MANAGED_BY: labels.MANAGER, labels.EDGE_TENANT: name}
        for secret in await ctx.client.list(SECRET, names.region_namespace(region), selector):
            metadata = secret["metadata"]
            await ctx.client.delete(SECRET, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    namespace = await ctx.client.get(NAMESPACE, names.tenant_namespace(name))
    if namespace is None or (namespace["metadata"].get("labels") or {}).get(labels.OWNER_UID) != uid:
        return None
    if namespace_state(namespace, uid) == "ours":
        await ctx.client.delete(NAMESPACE, namespace["metadata"]["name"], uid=namespace["metadata"]["uid"])
    return f"waiting for namespace {namespace['metadata']['name']} to be gone{_remaining(namespace)}"


def _remaining(namespace: Manifest) -> str:
    """What the namespace controller says is left; empty when it says nothing."""
    for condition in (namespace.get("status") or {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in (
            "NamespaceContentRemaining",
            "NamespaceFinalizersRemaining",
            "NamespaceDeletionContentFailure",
        ):
            return f": {condition['message']}"
    return ""
