"""Deletion of a region: the edge gives its addresses away and ends, its nodes are swept, then its namespace goes.

A region goes although tenants still name it: they say so in a condition, and a new region of the name serves them
again.
"""

from __future__ import annotations

from typing import Any

from okitoki.kube import labels, names
from okitoki.kube.ownership import namespace_state
from okitoki.kube.resources import CONFIG_MAP, NAMESPACE, NODE, POD, STATEFUL_SET, Manifest
from okitoki.reconcile.kind import Context
from okitoki.voiceregion.build.common import EDGE, REGION_CONFIG_MAP
from okitoki.voiceregion.build.sweep import SWEEP, sweep_pod
from okitoki.voiceregion.observe import node_facts, used_nodes


async def finalize(ctx: Context, raw: Manifest) -> str | None:
    """What is still awaited, or None when all is gone. A namespace that is not this region's is left alone."""
    name, uid = raw["metadata"]["name"], raw["metadata"]["uid"]
    namespace = await ctx.client.get(NAMESPACE, names.region_namespace(name))
    if namespace is None or (namespace["metadata"].get("labels") or {}).get(labels.OWNER_UID) != uid:
        return None
    if namespace_state(namespace, uid) == "ours":
        waiting = await _end_edge(ctx, name) or await _sweep(ctx, name, uid, used_nodes(namespace))
        if waiting is not None:
            return waiting
        await ctx.client.delete(NAMESPACE, namespace["metadata"]["name"], uid=namespace["metadata"]["uid"])
    return f"waiting for namespace {namespace['metadata']['name']} to be gone"


async def _end_edge(ctx: Context, name: str) -> str | None:
    """Scale to nothing, so that preStop hooks run with all the edge's Secrets in place, and wait."""
    namespace = names.region_namespace(name)
    stateful_set = await ctx.client.get(STATEFUL_SET, EDGE, namespace)
    if stateful_set is not None and stateful_set["spec"].get("replicas") != 0:
        await ctx.client.merge_patch(STATEFUL_SET, EDGE, {"spec": {"replicas": 0}}, namespace=namespace)
    pods = await ctx.client.list(POD, namespace, labels.selector(EDGE, region=name))
    if not pods and (stateful_set is None or not (stateful_set.get("status") or {}).get("replicas")):
        return None
    ends = []
    for pod in pods:
        node = str((pod.get("spec") or {}).get("nodeName") or "")
        dead = bool(node) and not await _node_is_ready(ctx, node)
        mend = f" (node {node} is not ready: bring it back, or delete it from the cluster)" if dead else ""
        ends.append(f"{pod['metadata']['name']}{mend}")
    return f"waiting for the edge to give its addresses away and end: {', '.join(ends) or 'its pods'}"


async def _node_is_ready(ctx: Context, name: str) -> bool:
    node = await ctx.client.get(NODE, name)
    return node is not None and node_facts(node, {}).ready


async def _sweep(ctx: Context, name: str, uid: str, nodes: tuple[str, ...]) -> str | None:
    """On each node that was used: what a pod that was killed may have left, and the region's folder."""
    namespace = names.region_namespace(name)
    if await ctx.client.get(CONFIG_MAP, REGION_CONFIG_MAP, namespace) is None:
        return None
    pods = await ctx.client.list(POD, namespace, labels.selector(SWEEP, region=name))
    done = {str(pod["spec"].get("nodeName")): pod for pod in pods}
    waiting = []
    for node in nodes:
        pod = done.get(node)
        if pod is None:
            if not await _node_is_ready(ctx, node):
                # A node that is gone or down has lost its addresses, and its rules go with a restart.
                continue
            shared = await _serves_another_region(ctx, node, name)
            await ctx.client.create(sweep_pod(name, uid, node, ctx.images.edge, keep_sysctls=shared))
            waiting.append(node)
        elif (pod.get("status") or {}).get("phase") != "Succeeded" and await _node_is_ready(ctx, node):
            waiting.append(f"{node}{_why(pod)}")
    return f"waiting for the clean-up of nodes: {', '.join(waiting)}" if waiting else None


async def _serves_another_region(ctx: Context, node: str, name: str) -> bool:
    pods = await ctx.client.list(POD, selector={**labels.OURS, labels.NAME: EDGE})
    return any(
        pod["spec"].get("nodeName") == node and (pod["metadata"].get("labels") or {}).get(labels.REGION) != name
        for pod in pods
    )


def _why(pod: Manifest) -> str:
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        state: dict[str, Any] = status.get("state") or {}
        if waiting := (state.get("waiting") or {}).get("reason"):
            return f" ({waiting})"
    return ""
