"""An operator that dies after each of its writes, and another that goes on: what is left is what an operator that lives
leaves. (Pausing and waking: test_states.py; retained deletion and adoption: test_retention.py; rotation of the
authorities: test_certificates.py.)
"""

from __future__ import annotations

from typing import Any

import pytest
from api.world import REGION, World, region, tenant

from okitoki.kube import names
from okitoki.kube import resources as kinds
from okitoki.kube.resources import Manifest

NAMESPACE = "tenant-acme"
RANDOM = {"Secret"}
"""Kinds whose content differs each time."""


async def living(world: World) -> None:
    """What `World.dying` does of acme, with operators that live."""
    for _ in range(4):
        await world.reconcile("acme")


async def content(world: World, namespace: str, of: tuple[kinds.ResourceType, ...]) -> dict[str, Any]:
    """What is in a namespace, without what differs between two that are the same."""
    found = {}
    for kind in of:
        for item in await world.admin.list(kind, namespace):
            found[f"{kind.kind}/{item['metadata']['name']}"] = _essence(kind.kind, item)
    return found


def _essence(kind: str, item: Manifest) -> Any:
    if kind in RANDOM:
        return sorted(item.get("data") or {})
    metadata = {"labels": item["metadata"].get("labels"), "finalizers": item["metadata"].get("finalizers")}
    rest = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    if kind == "ConfigMap" and item["metadata"]["name"] == names.CA_CONFIG_MAP:
        rest["data"] = sorted(rest["data"])
    for field in ("clusterIP", "clusterIPs"):
        (rest.get("spec") or {}).pop(field, None)
    annotations = ((rest.get("spec") or {}).get("template") or {}).get("metadata", {}).get("annotations") or {}
    annotations.pop("platform.oki-toki.net/secrets-hash", None)
    return {**rest, "metadata": metadata}


TENANT_KINDS = (
    kinds.SECRET, kinds.CONFIG_MAP, kinds.SERVICE, kinds.STATEFUL_SET, kinds.DEPLOYMENT, kinds.ROLE, kinds.ROLE_BINDING,
    kinds.NETWORK_POLICY, kinds.POD_DISRUPTION_BUDGET, kinds.SERVICE_ACCOUNT,
)  # fmt: skip
REGION_KINDS = (
    kinds.SECRET, kinds.CONFIG_MAP, kinds.STATEFUL_SET, kinds.ROLE, kinds.ROLE_BINDING, kinds.POD_DISRUPTION_BUDGET,
    kinds.SERVICE_ACCOUNT,
)  # fmt: skip

CHANGES = {
    "more of everything": {"app": {"replicas": 4}, "database": {"instances": 5}},
    "other numbers": {"numbers": [{"number": "+380441234599", "queue": "sales"}]},
    "suspended": {"state": "Suspended"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_of_a_tenant(world: World, change: dict[str, Any]) -> None:
    spec = {"numbers": [{"number": "+380441234567", "queue": "sales"}], "database": {"instances": 3}}
    await world.admin.create(tenant("acme", **spec))
    await living(world)
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": change})
    assert await world.dying("acme") > 0
    died = await content(world, NAMESPACE, TENANT_KINDS)
    await _away(world)
    await world.admin.create(tenant("acme", **spec))
    await living(world)
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": change})
    await living(world)
    assert died == await content(world, NAMESPACE, TENANT_KINDS)


async def _away(world: World) -> None:
    await world.admin.merge_patch(kinds.TENANT, "acme", {"metadata": {"finalizers": None}})
    await world.admin.delete(kinds.TENANT, "acme")
    await world.empty_namespace(NAMESPACE)
    await world.admin.delete(kinds.NAMESPACE, NAMESPACE)
    await world.finish_namespace(NAMESPACE)


async def test_a_making_of_a_tenant(world: World) -> None:
    await world.admin.create(tenant("acme"))
    assert await world.dying("acme") > 20
    died = await content(world, NAMESPACE, TENANT_KINDS)
    await _away(world)
    await world.admin.create(tenant("acme"))
    await living(world)
    assert died == await content(world, NAMESPACE, TENANT_KINDS)


async def test_a_deletion_of_a_tenant_with_its_data(world: World) -> None:
    await world.admin.create(tenant("acme", deletionPolicy="Delete"))
    await living(world)
    await world.make_claims("acme")
    await world.admin.delete(kinds.TENANT, "acme")

    async def controllers() -> None:
        found = await world.admin.get(kinds.NAMESPACE, NAMESPACE)
        if found and found["metadata"].get("deletionTimestamp"):
            await world.empty_namespace(NAMESPACE)
            await world.finish_namespace(NAMESPACE)

    assert await world.dying("acme", between=controllers) > 2
    assert await world.admin.get(kinds.TENANT, "acme") is None
    assert await world.admin.get(kinds.NAMESPACE, NAMESPACE) is None
    edge = names.region_namespace(REGION)
    assert await world.admin.get(kinds.SECRET, names.edge_tenant_secret("acme"), edge) is None


async def test_a_making_a_change_and_a_deletion_of_a_region(world: World) -> None:
    lviv = names.region_namespace("lviv")
    other = {"sip": "198.18.16.220", "https": "198.18.16.223", "media": ["198.18.16.221", "198.18.16.222"]}
    await world.admin.create(region("lviv", addresses=other))
    assert await world.dying("lviv", "VoiceRegion") > 8
    made = await content(world, lviv, REGION_KINDS)
    assert "StatefulSet/edge" in made
    secrets = await world.admin.get(kinds.SECRET, "edge-secrets", lviv)
    await world.admin.merge_patch(kinds.VOICE_REGION, "lviv", {"spec": {"failover": {"advertInterval": "200ms"}}})
    assert await world.dying("lviv", "VoiceRegion") > 1
    changed = await content(world, lviv, REGION_KINDS)
    assert {name for name in made if made[name] != changed[name]} == {"ConfigMap/edge-region", "StatefulSet/edge"}
    after = await world.admin.get(kinds.SECRET, "edge-secrets", lviv)
    assert secrets is not None
    assert after is not None
    assert secrets["data"] == after["data"]
    await world.admin.delete(kinds.VOICE_REGION, "lviv")

    async def controllers() -> None:
        workload = await world.admin.get(kinds.STATEFUL_SET, "edge", lviv)
        if workload and workload["spec"].get("replicas") == 0:
            status = {"observedGeneration": workload["metadata"]["generation"], "replicas": 0}
            await world.admin.merge_patch(
                kinds.STATEFUL_SET, "edge", {"status": status}, namespace=lviv, subresource="status"
            )
        found = await world.admin.get(kinds.NAMESPACE, lviv)
        if found and found["metadata"].get("deletionTimestamp"):
            await world.empty_namespace(lviv)
            await world.finish_namespace(lviv)

    assert await world.dying("lviv", "VoiceRegion", controllers) > 2
    assert await world.admin.get(kinds.VOICE_REGION, "lviv") is None
    assert await world.admin.get(kinds.NAMESPACE, lviv) is None
