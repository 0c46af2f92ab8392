"""Reads everything a reconcile of a region needs; writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels, names
from okitoki.kube.apply import Live
from okitoki.kube.edge_report import TrunkState, edge_report
from okitoki.kube.ownership import namespace_state
from okitoki.kube.pki import KeyPair, certificate_ids, decode
from okitoki.kube.resources import (
    NAMESPACE,
    NODE,
    POD,
    Manifest,
    ObjectKey,
    annotation,
    condition,
    condition_is_true,
)
from okitoki.reconcile.index import by_age
from okitoki.reconcile.kind import Context
from okitoki.voiceregion.allocation import choose_slot
from okitoki.voiceregion.build.common import EDGE, EDGE_SECRETS, EDGE_TLS, EDGE_TUNNEL
from okitoki.voiceregion.build.namespace import SLOT, USED_NODES
from okitoki.voiceregion.facts import (
    ADDRESSES,
    EdgePod,
    NodeFacts,
    Observed,
    RegionClaim,
    Secrets,
    Trunk,
    Values,
    Workload,
)

CURRENT_REVISION = "controller-revision-hash"
"""Label by which the StatefulSet controller says which template a pod has."""
TRUNK_STATES: Mapping[Any, TrunkState] = {
    "answers": "Answers",
    "silent": "Silent",
    "refuses": "Refuses",
    "unproven": "Unproven",
}
"""The agent's words in those of the status."""


async def observe(ctx: Context, region: VoiceRegion, live: Live) -> Observed:
    """See the module; `live` holds the objects of the region's namespace. Raises NoSlotError."""
    name = region.metadata.name
    namespace = names.region_namespace(name)
    own = live.get(ObjectKey("Namespace", "", namespace))
    state = namespace_state(own, region.metadata.uid)
    found = await ctx.client.list(POD, namespace, labels.selector(EDGE, region=name)) if state == "ours" else []
    pods = tuple(sorted((edge_pod(pod) for pod in found), key=lambda pod: pod.name))
    regional = {**labels.OURS, labels.REGION: labels.PRESENT}
    taken = slots(await ctx.client.list(NAMESPACE, selector=regional))
    if state != "ours":
        taken.pop(name, None)
    regions = by_age(ctx.index.regions.values())
    return Observed(
        image=ctx.images.edge,
        authorities=ctx.authorities.latest,
        namespace=state,
        now=ctx.now().timestamp(),
        slot=choose_slot(name, taken, [item["metadata"]["name"] for item in regions]),
        secrets=_secrets(live, namespace),
        pods=pods,
        workload=workload(live.get(ObjectKey("StatefulSet", namespace, EDGE))),
        nodes=tuple(node_facts(node, region.spec.node_selector) for node in await ctx.client.list(NODE)),
        used_nodes=tuple(sorted({*(used_nodes(own) if state == "ours" else ()), *(p.node for p in pods if p.node)})),
        others=claims(name, regions),
        trusted=_trusted(live.get(ObjectKey("ConfigMap", namespace, names.CA_CONFIG_MAP))) if state == "ours" else None,
        tenants=sum(1 for tenant in ctx.index.tenants.values() if name in (tenant["spec"].get("regions") or [])),
    )


def slots(namespaces: Iterable[Manifest]) -> dict[str, int]:
    """Slots that regions have, from their namespaces."""
    found = {}
    for namespace in namespaces:
        region = (namespace["metadata"].get("labels") or {}).get(labels.REGION)
        slot = annotation(namespace, SLOT)
        if region and slot.isdigit():
            found[region] = int(slot)
    return found


def used_nodes(namespace: Manifest | None) -> tuple[str, ...]:
    """Nodes that the region has used, from its namespace."""
    return tuple(name for name in annotation(namespace, USED_NODES).split(",") if name)


def claims(name: str, regions: list[Manifest]) -> tuple[RegionClaim, ...]:
    """What the other regions have; `regions`: oldest first. One that is being deleted keeps its addresses until it is
    gone."""
    found, older = [], True
    for item in regions:
        if item["metadata"]["name"] == name:
            older = False
            continue
        addresses = (item.get("spec") or {}).get("addresses") or {}
        taken = (addresses.get("sip", ""), addresses.get("https", ""), *(addresses.get("media") or []))
        found.append(RegionClaim(item["metadata"]["name"], item["spec"].get("domain", ""), taken, older))
    return tuple(found)


def node_facts(node: Manifest, selector: Mapping[str, str]) -> NodeFacts:
    """What of a node matters here."""
    status, spec = node.get("status") or {}, node.get("spec") or {}
    return NodeFacts(
        name=node["metadata"]["name"],
        addresses=tuple(item["address"] for item in status.get("addresses") or [] if item["type"] != "Hostname"),
        pod_ranges=tuple(block for block in spec.get("podCIDRs") or [] if ":" not in block),
        matches=labels.matches(node["metadata"].get("labels") or {}, selector) and not spec.get("unschedulable"),
        ready=condition_is_true(node, "Ready"),
    )


def workload(stateful_set: Manifest | None) -> Workload:
    """The live StatefulSet; its revision counts once the controller has seen the newest template."""
    if stateful_set is None:
        return Workload()
    status = stateful_set.get("status") or {}
    current = status.get("observedGeneration", 0) >= stateful_set["metadata"].get("generation", 1)
    return Workload(True, str(status.get("updateRevision", "")) if current else "")


def edge_pod(pod: Manifest) -> EdgePod:
    """A pod and what its agent says of the node."""
    metadata = pod["metadata"]
    report = edge_report(pod)
    holds = report.get("holds")
    return EdgePod(
        name=metadata["name"],
        uid=metadata["uid"],
        node=str((pod.get("spec") or {}).get("nodeName") or ""),
        revision=str((metadata.get("labels") or {}).get(CURRENT_REVISION, "")),
        ready=condition_is_true(pod, "Ready"),
        terminating=bool(metadata.get("deletionTimestamp")),
        problem=_problem(pod),
        holds=tuple(name for name in ADDRESSES if isinstance(holds, list) and name in holds),
        since=_times(report.get("since")),
        peer_answers=report.get("peerAnswers") is True,
        protected=report.get("protected") is True,
        unprotected_because=tuple(str(reason) for reason in report.get("unprotectedBecause") or []),
        dead_letters=int(report.get("deadLetters") or 0),
        trunks=_trunks(report.get("trunks")),
        certificate=str(report.get("certificate") or ""),
        authorities=frozenset(str(name) for name in report.get("authorities") or []),
        drained=report.get("drained") is True,
        drain=labels.DRAIN in (metadata.get("annotations") or {}),
    )


def _trunks(document: Any) -> tuple[Trunk, ...]:
    """In the order of their addresses."""
    found = []
    for host, said in sorted(document.items()) if isinstance(document, dict) else ():
        state = TRUNK_STATES.get(said.get("state")) if isinstance(said, dict) else None
        if state is not None:
            code = said.get("code")
            found.append(
                Trunk(host, str(said.get("carrier")), state, int(said.get("since") or 0), int(code) if code else None)
            )
    return tuple(found)


def _times(document: Any) -> dict[str, float]:
    if not isinstance(document, dict):
        return {}
    return {name: float(at) for name, at in document.items() if name in ADDRESSES and isinstance(at, int | float)}


def _problem(pod: Manifest) -> str:
    """Why the pod does not start, in the kubelet's or the scheduler's words; empty when nothing is said."""
    scheduled, status = condition(pod, "PodScheduled"), pod.get("status") or {}
    if scheduled.get("status") == "False":
        return f"cannot be scheduled: {scheduled.get('message', '')}"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            message = waiting.get("message", "")
            return f"{container['name']}: {waiting['reason']}{f', {message}' if message else ''}"[:300]
    return ""


def _trusted(config_map: Manifest | None) -> frozenset[str] | None:
    return certificate_ids((config_map.get("data") or {}).get("ca.crt", "")) if config_map else None


def _values(live: Live, namespace: str, name: str) -> Values:
    secret = live.get(ObjectKey("Secret", namespace, name)) or {}
    return {key: decode(value) for key, value in (secret.get("data") or {}).items()}


def _secrets(live: Live, namespace: str) -> Secrets:
    tls = _values(live, namespace, EDGE_TLS)
    pair = KeyPair(tls["tls.crt"], tls["tls.key"]) if {"tls.crt", "tls.key"} <= set(tls) else None
    tunnel = _values(live, namespace, EDGE_TUNNEL)
    return Secrets(edge=_values(live, namespace, EDGE_SECRETS), tls=pair, tunnel=tunnel)
