"""The VoiceRegion in the loop, and its deletion step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from unit.operator_voiceregion.support import NOW, SPEC, UID, observed, pair, pod, region

from okitoki.kube.authority import Authorities, AuthoritySet
from okitoki.kube.labels import matches
from okitoki.kube.pki import Authority, new_authority
from okitoki.kube.resources import Manifest, ObjectKey, ResourceType
from okitoki.kube.tunnel_keys import public_key
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context, Images, InvalidResource
from okitoki.voiceregion.allocation import SLOTS
from okitoki.voiceregion.facts import Secrets
from okitoki.voiceregion.kind import RECHECK_SECONDS, RECHECK_UNREADY_SECONDS, RESTART, VoiceRegionKind
from okitoki.voiceregion.secrets import fill

NAMESPACE = "okitoki-region-kyiv"
RAW: Manifest = {
    "apiVersion": "platform.oki-toki.net/v1alpha1",
    "kind": "VoiceRegion",
    "metadata": {"name": "kyiv", "uid": UID},
    "spec": SPEC,
}


class FakeClient:
    """Objects by key; what is deleted is gone at once, namespaces with what is in them."""

    def __init__(self, *objects: Manifest) -> None:
        self.objects = {ObjectKey.of(item): item for item in objects}
        self.deleted: list[str] = []

    async def get(self, kind: ResourceType, name: str, namespace: str | None = None) -> Manifest | None:
        return self.objects.get(ObjectKey(kind.kind, namespace or "", name))

    async def list(
        self, kind: ResourceType, namespace: str | None = None, selector: dict[str, str] | None = None
    ) -> list[Manifest]:
        return [
            item
            for key, item in self.objects.items()
            if key.kind == kind.kind
            and namespace in (None, key.namespace)
            and matches(item["metadata"].get("labels") or {}, selector or {})
        ]

    async def create(self, manifest: Manifest) -> Manifest:
        self.objects[ObjectKey.of(manifest)] = manifest
        return manifest

    async def merge_patch(self, kind: ResourceType, name: str, patch: Any, *, namespace: str) -> None:
        found = self.objects[ObjectKey(kind.kind, namespace, name)]
        for part, values in patch.items():
            found[part] = {**found.get(part, {}), **values}

    async def delete(self, kind: ResourceType, name: str, namespace: str | None = None, *, uid: str) -> None:
        self.deleted.append(f"{kind.kind} {name} {uid}")
        key = ObjectKey(kind.kind, namespace or "", name)
        self.objects = {
            other: item
            for other, item in self.objects.items()
            if other != key and not (kind.kind == "Namespace" and other.namespace == name)
        }

    def pods(self) -> list[str]:
        return sorted(key.name for key in self.objects if key.kind == "Pod")


def context(client: FakeClient) -> Context:
    authority = Authority(new_authority(datetime.now(UTC)))
    images = Images("app", "postgres", "okitoki/edge:1")
    return Context(client, Index(), images, "okitoki-system", Authorities(AuthoritySet(authority)), None)  # type: ignore[arg-type]


def namespace(uid: str = UID, **metadata: Any) -> Manifest:
    labels = {"platform.oki-toki.net/owner-uid": uid}
    annotations = {"platform.oki-toki.net/edge-nodes": "worker0,worker1,gone"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "uid": "n", "labels": labels, "annotations": annotations, **metadata},
    }


def raw_pod(name: str, node: str, region_name: str = "kyiv", namespace_name: str = NAMESPACE) -> Manifest:
    labels = {
        "app.kubernetes.io/name": "edge",
        "app.kubernetes.io/managed-by": "okitoki-operator",
        "platform.oki-toki.net/region": region_name,
    }
    metadata = {"name": name, "namespace": namespace_name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}, "status": {}}


def raw_node(name: str, ready: str = "True") -> Manifest:
    status = {"conditions": [{"type": "Ready", "status": ready}], "addresses": []}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": status}


def cluster() -> FakeClient:
    inside = {"namespace": NAMESPACE}
    return FakeClient(
        namespace(),
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "edge", **inside},
            "spec": {"replicas": 2},
            "status": {"replicas": 2},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "edge-region", **inside}},
        raw_pod("edge-0", "worker0"),
        raw_pod("edge-1", "worker1"),
        raw_node("worker0"),
        raw_node("worker1"),
    )


def remove_edge(client: FakeClient) -> None:
    """What the StatefulSet controller does."""
    for name in ("edge-0", "edge-1"):
        client.objects.pop(ObjectKey("Pod", NAMESPACE, name), None)
    client.objects[ObjectKey("StatefulSet", NAMESPACE, "edge")]["status"] = {"replicas": 0}


async def test_deletion_ends_the_edge_then_sweeps_then_removes_the_namespace() -> None:
    client = cluster()
    ctx, kind = context(client), VoiceRegionKind()
    waiting = await kind.finalize(ctx, RAW)
    assert waiting == "waiting for the edge to give its addresses away and end: edge-0, edge-1"
    assert client.objects[ObjectKey("StatefulSet", NAMESPACE, "edge")]["spec"]["replicas"] == 0
    assert client.deleted == []
    remove_edge(client)
    waiting = await kind.finalize(ctx, RAW)
    assert waiting == "waiting for the clean-up of nodes: worker0, worker1"
    sweeps = client.pods()
    assert len(sweeps) == 2
    assert await kind.finalize(ctx, RAW) == waiting
    assert client.pods() == sweeps
    for name in sweeps:
        client.objects[ObjectKey("Pod", NAMESPACE, name)]["status"] = {"phase": "Succeeded"}
    assert await kind.finalize(ctx, RAW) == f"waiting for namespace {NAMESPACE} to be gone"
    assert client.deleted == [f"Namespace {NAMESPACE} n"]
    assert await kind.finalize(ctx, RAW) is None


async def test_a_dead_node_is_named_with_the_mend() -> None:
    client = cluster()
    client.objects[ObjectKey("Node", "", "worker1")] = raw_node("worker1", "Unknown")
    waiting = await VoiceRegionKind().finalize(context(client), RAW)
    assert waiting is not None
    assert "edge-1 (node worker1 is not ready: bring it back, or delete it from the cluster)" in waiting


async def test_sysctls_stay_where_another_region_needs_them() -> None:
    client = cluster()
    remove_edge(client)
    other = raw_pod("edge-0", "worker1", "lviv", "okitoki-region-lviv")
    client.objects[ObjectKey.of(other)] = other
    await VoiceRegionKind().finalize(context(client), RAW)
    commands = {
        item["spec"]["nodeName"]: item["spec"]["containers"][0]["command"]
        for key, item in client.objects.items()
        if key.kind == "Pod" and key.name.startswith("edge-sweep")
    }
    assert commands == {
        "worker0": ["okitoki-edge", "sweep"],
        "worker1": ["okitoki-edge", "sweep", "--keep-sysctls"],
    }


async def test_a_namespace_of_somebody_else_is_left_alone() -> None:
    client = FakeClient(namespace("another"))
    assert await VoiceRegionKind().finalize(context(client), RAW) is None
    assert client.deleted == []


async def test_a_region_that_was_deleted_before_it_was_made_is_gone_at_once() -> None:
    assert await VoiceRegionKind().finalize(context(FakeClient()), RAW) is None
    empty = FakeClient(namespace())
    assert await VoiceRegionKind().finalize(context(empty), RAW) == f"waiting for namespace {NAMESPACE} to be gone"


async def test_observe_prepare_build_of_a_new_region() -> None:
    client = FakeClient(raw_node("worker0"), raw_node("worker1"))
    ctx, kind = context(client), VoiceRegionKind()
    ctx.index.put(RAW)
    ctx.index.put({"kind": "Tenant", "metadata": {"name": "acme"}, "spec": {"regions": ["kyiv"]}})
    made = kind.parse(RAW)
    found = await kind.prepare(ctx, made, await kind.observe(ctx, made, {}))
    assert (found.namespace, found.slot, found.tenants) == ("absent", 0, 1)
    assert len(kind.build(made, found)) == 11
    assert not kind.may_prune(made, found)
    assert kind.decide(made, found) == []


async def test_no_slot_left_is_told_as_such() -> None:
    full = []
    for slot in range(SLOTS):
        labels = {"app.kubernetes.io/managed-by": "okitoki-operator", "platform.oki-toki.net/region": f"r{slot}"}
        metadata = {
            "name": f"n{slot}",
            "labels": labels,
            "annotations": {"platform.oki-toki.net/region-slot": str(slot)},
        }
        full.append({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    ctx = context(FakeClient(*full))
    ctx.index.put(RAW)
    with pytest.raises(InvalidResource, match="all 50 sets"):
        await VoiceRegionKind().observe(ctx, region(), {})


async def test_a_restart_names_the_very_pod() -> None:
    kind = VoiceRegionKind()
    old = tuple(pod(number, revision="old", holds=("sip",) if number == 0 else ()) for number in (0, 1))
    found = observed(pods=old)
    (action,) = kind.decide(region(), found)
    assert (action.name, action.data) == (RESTART, {"pod": "edge-1", "uid": "uid-1"})
    client = cluster()
    assert await kind.act(context(client), region(), found, action) is None
    assert client.deleted == ["Pod edge-1 uid-1"]


def test_it_looks_again_sooner_while_something_is_wrong() -> None:
    kind = VoiceRegionKind()
    outcome: Any = type("Outcome", (), {"acted": {}})()
    assert kind.recheck_seconds(region(), observed(), outcome) == RECHECK_SECONDS
    assert kind.recheck_seconds(region(), observed(pods=pair(ready=False)), outcome) == RECHECK_UNREADY_SECONDS


def test_what_a_change_of_another_resource_concerns() -> None:
    index = Index()
    for name in ("kyiv", "lviv"):
        index.put({"kind": "VoiceRegion", "metadata": {"name": name}, "spec": {}})
    kind = VoiceRegionKind()
    assert kind.concerned_by({"kind": "VoiceRegion", "metadata": {"name": "lviv"}}, index) == ["kyiv"]
    tenant = {"kind": "Tenant", "metadata": {"name": "acme"}, "spec": {"regions": ["lviv", "missing"]}}
    assert kind.concerned_by(tenant, index) == ["lviv"]


def test_secrets_are_made_once_and_a_certificate_when_it_must() -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    authority = Authority(new_authority(now))
    empty = observed(secrets=Secrets())
    first = fill(region(), empty, authority, now)
    assert all(value.isalnum() and len(value) >= 32 for value in first.secrets.edge.values())
    assert fill(region(), first, authority, now).secrets == first.secrets
    again = fill(region(), first, Authority(new_authority(now)), now)
    assert again.secrets.edge == first.secrets.edge
    assert again.secrets.tls != first.secrets.tls
    assert "n" * 8 not in repr(first.secrets)


def test_the_tunnels_keys_are_made_once_and_all_anew_when_one_is_not_whole() -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    authority = Authority(new_authority(now))
    first = fill(region(), observed(secrets=Secrets()), authority, now)
    keys = first.secrets.tunnel
    assert sorted(keys) == ["private-key-0", "private-key-1", "public-key-0", "public-key-1"]
    assert all(public_key(keys[f"private-key-{end}"]) == keys[f"public-key-{end}"] for end in (0, 1))
    assert fill(region(), first, authority, now).secrets.tunnel == keys
    assert keys["private-key-0"] not in repr(first.secrets)
    for broken in ({"private-key-1": "none"}, {"public-key-0": keys["public-key-1"]}):
        hurt = replace(first, secrets=replace(first.secrets, tunnel={**keys, **broken}))
        assert not set(fill(region(), hurt, authority, now).secrets.tunnel.values()) & set(keys.values())
