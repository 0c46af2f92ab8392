"""Deletion of a tenant: first the edge forgets it, then `spec.deletionPolicy` decides.

Delete: its namespace goes. Retain: what runs ends in order and all goes but the data and what is needed to open them
(docs/decisions/0012).
"""

from __future__ import annotations

from okitoki.kube import labels, names
from okitoki.kube.apply import prunable
from okitoki.kube.diff import stamp
from okitoki.kube.ownership import namespace_state
from okitoki.kube.resources import (
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
    Manifest,
    ObjectKey,
    ResourceType,
    type_of,
)
from okitoki.reconcile.kind import Context
from okitoki.tenant.build.namespace import retained_namespace
from okitoki.tenant.stop import stop

KEPT_SECRETS = (names.POSTGRES_CREDENTIALS, names.API_ADMIN)
"""The database's passwords, and the key that its users of the API know; tokens and certificates are made anew."""


async def finalize(ctx: Context, raw: Manifest, own_kinds: tuple[ResourceType, ...]) -> str | None:
    """What is still awaited, or None when it is done. A namespace that is not this tenant's is left alone."""
    name, uid = raw["metadata"]["name"], raw["metadata"]["uid"]
    for region in sorted(ctx.index.regions):
        selector = {**labels.OURS, labels.EDGE_TENANT: name}
        for secret in await ctx.client.list(SECRET, names.region_namespace(region), selector):
            metadata = secret["metadata"]
            await ctx.client.delete(SECRET, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    namespace = await ctx.client.get(NAMESPACE, names.tenant_namespace(name))
    if namespace is None or (namespace["metadata"].get("labels") or {}).get(labels.OWNER_UID) != uid:
        return None
    if namespace_state(namespace, uid) == "ours":
        if await _keeps_data(ctx, raw):
            return await _retain(ctx, raw, namespace, own_kinds)
        await ctx.client.delete(NAMESPACE, namespace["metadata"]["name"], uid=namespace["metadata"]["uid"])
    return f"waiting for namespace {namespace['metadata']['name']} to be gone{_remaining(namespace)}"


async def _keeps_data(ctx: Context, raw: Manifest) -> bool:
    """Only Delete, said in so many words, erases; a tenant that never got a volume has nothing to keep."""
    if (raw.get("spec") or {}).get("deletionPolicy", "Retain") == "Delete":
        return False
    return bool(await ctx.client.list(PERSISTENT_VOLUME_CLAIM, names.tenant_namespace(raw["metadata"]["name"])))


async def _retain(ctx: Context, raw: Manifest, namespace: Manifest, own_kinds: tuple[ResourceType, ...]) -> str | None:
    """Marked first: if somebody removes the finalizer by hand half way, the data can still be adopted."""
    name, uid = raw["metadata"]["name"], raw["metadata"]["uid"]
    if labels.RETAINED not in namespace["metadata"]["labels"]:
        await ctx.client.apply(stamp(retained_namespace(name, uid, raw["metadata"]["deletionTimestamp"])))
    if waiting := await stop(ctx, name):
        return f"{waiting}; its data are kept (spec.deletionPolicy is Retain)"
    where = names.tenant_namespace(name)
    live = {ObjectKey.of(item): item for kind in own_kinds for item in await ctx.client.list(kind, where)}
    for key in prunable(live, (kind.kind for kind in own_kinds), {labels.TENANT: name}):
        if key.kind != SECRET.kind or key.name not in KEPT_SECRETS:
            uid_of = live[key]["metadata"]["uid"]
            await ctx.client.delete(type_of(live[key]), key.name, key.namespace, uid=uid_of)
    text = (
        f"namespace {where} keeps the volumes of the database and their credentials: a Tenant {name} with "
        f"spec.database.adopt {uid} goes on with them, `kubectl delete namespace {where}` erases them"
    )
    await ctx.events.record(raw, "Normal", "DataRetained", text)
    return None


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
