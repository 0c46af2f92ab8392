"""Ends what a tenant runs, keeping its data: first the app, so that no write is on its way, then the database.

Every step is one write that says what shall be, so that whoever takes over in the middle goes on from what is there.
"""

from __future__ import annotations

from okitoki.database.stopping import CONFIG_MAP as STORE
from okitoki.database.stopping import announcement, stop_announced
from okitoki.kube import labels, names
from okitoki.kube.resources import CONFIG_MAP, DEPLOYMENT, POD, STATEFUL_SET, Manifest, ResourceType
from okitoki.reconcile.kind import Context


async def stop(ctx: Context, tenant: str) -> str | None:
    """What is still awaited, or None when no pod of the tenant is left."""
    if waiting := await _scale_to_nothing(ctx, tenant, DEPLOYMENT, names.APP):
        return waiting
    namespace = names.tenant_namespace(tenant)
    store = await ctx.client.get(CONFIG_MAP, STORE, namespace)
    if store is not None and not stop_announced(store):
        await ctx.client.merge_patch(CONFIG_MAP, STORE, announcement(True), namespace=namespace)
    return await _scale_to_nothing(ctx, tenant, STATEFUL_SET, names.POSTGRES)


async def _scale_to_nothing(ctx: Context, tenant: str, kind: ResourceType, component: str) -> str | None:
    namespace = names.tenant_namespace(tenant)
    workload = await ctx.client.get(kind, component, namespace)
    if workload is not None and workload["spec"].get("replicas") != 0:
        await ctx.client.merge_patch(kind, component, {"spec": {"replicas": 0}}, namespace=namespace)
    pods = await ctx.client.list(POD, namespace, labels.selector(component, tenant=tenant))
    if not pods and _settled(workload):
        return None
    left = ", ".join(sorted(pod["metadata"]["name"] for pod in pods)) or f"its {kind.kind}"
    return f"waiting for {component} to end: {left}"


def _settled(workload: Manifest | None) -> bool:
    """Its controller has seen that there shall be no pod, and makes none any more."""
    if workload is None:
        return True
    status = workload.get("status") or {}
    if not status.get("replicas") and workload["spec"].get("replicas") == 0:
        return bool(status.get("observedGeneration", 0) >= workload["metadata"]["generation"])
    return False
