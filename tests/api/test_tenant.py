"""The whole reconcile of a Tenant against a real API server (no kubelet: pods are made by hand)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
import yaml
from api.world import REGION, Crash, World, region, tenant

from okitoki.api.crds import all_crds
from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.pki import decode
from okitoki.kube.resources import Manifest

NUMBER = {"number": "+380441234567", "queue": "sales"}


async def create(world: World, manifest: Manifest) -> Manifest:
    return await world.admin.create(manifest)


async def edge_secret(world: World, name: str, where: str = REGION) -> dict[str, object] | None:
    found = await world.admin.get(kinds.SECRET, names.edge_tenant_secret(name), names.region_namespace(where))
    return json.loads(decode(found["data"]["tenant.json"])) if found else None


async def test_a_tenant_gets_everything_and_nothing_is_written_at_rest(world: World) -> None:
    await create(world, tenant("acme", numbers=[NUMBER]))
    await world.reconcile("acme", times=3)
    namespace = names.tenant_namespace("acme")
    expected = {
        kinds.STATEFUL_SET: {"postgres"},
        kinds.DEPLOYMENT: {"app"},
        kinds.SERVICE: {"postgres", "postgres-0", "postgres-1", "postgres-2", "app"},
        kinds.SECRET: {"postgres-credentials", "app-secrets", "api-admin", "app-tls"},
        kinds.POD_DISRUPTION_BUDGET: {"postgres", "app"},
        kinds.NETWORK_POLICY: {"default-deny", "postgres", "app"},
        kinds.ROLE: {"postgres", "edge"},
        kinds.ROLE_BINDING: {"postgres", "edge"},
    }
    for kind, wanted in expected.items():
        assert {item["metadata"]["name"] for item in await world.admin.list(kind, namespace)} == wanted
    assert await world.reconcile("acme") == []
    conditions = await world.conditions("acme")
    assert conditions["NamespaceOwned"]["status"] == "True"
    assert conditions["DatabaseReady"]["reason"] == "Creating"
    assert conditions["RoutesPublished"]["status"] == "True"
    assert conditions["Ready"]["status"] == "False"


async def test_it_is_ready_when_all_pods_are_and_the_app_has_the_numbers(world: World) -> None:
    await create(world, tenant("acme", numbers=[NUMBER]))
    await world.reconcile("acme")
    await world.patroni_store("acme", "config", {"config": "{}"})
    await world.make_pods("acme")
    await _patroni_has_its_settings(world, "acme")
    await world.reconcile("acme", times=2)
    found_tenant = await world.admin.get(kinds.TENANT, "acme")
    assert found_tenant is not None
    status = found_tenant["status"]
    conditions = await world.conditions("acme")
    assert conditions["Ready"]["status"] == "True", conditions
    assert conditions["Ready"]["observedGeneration"] == found_tenant["metadata"]["generation"]
    assert status["database"] == {"primary": "postgres-0", "lastPrimary": "postgres-0", "members": "3/3"}
    assert status["app"] == {"replicas": "2/2"}
    assert status["numbers"] == 1
    assert status["hosts"] == ["acme.kyiv.okitoki.test"]
    assert world.app.profiles["tenant-acme"]["numbers"] == [NUMBER]
    assert await world.reconcile("acme") == []


async def _patroni_has_its_settings(world: World, name: str) -> None:
    settings = await world.admin.get(kinds.CONFIG_MAP, "postgres-settings", names.tenant_namespace(name))
    assert settings is not None
    dynamic = yaml.safe_load(settings["data"]["patroni.yaml"])["bootstrap"]["dcs"]
    patch = {"metadata": {"annotations": {"config": json.dumps(dynamic)}}}
    await world.admin.merge_patch(kinds.CONFIG_MAP, "postgres-config", patch, namespace=names.tenant_namespace(name))


async def test_drift_is_repaired_and_a_deleted_object_comes_back(world: World) -> None:
    await create(world, tenant("acme"))
    await world.reconcile("acme", times=2)
    scale = {"spec": {"replicas": 7}}
    await world.admin.request(
        "PATCH",
        kinds.DEPLOYMENT.path("tenant-acme", "app"),
        body=scale,
        params={"fieldManager": "kubectl-edit"},
        content_type="application/merge-patch+json",
    )
    await world.admin.delete(kinds.NETWORK_POLICY, "default-deny", "tenant-acme")
    writes = await world.reconcile("acme")
    assert len(writes) == 2, writes
    deployment = await world.admin.get(kinds.DEPLOYMENT, "app", "tenant-acme")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 2
    assert await world.admin.get(kinds.NETWORK_POLICY, "default-deny", "tenant-acme")
    assert await world.reconcile("acme") == []


async def test_fewer_instances_prune_the_services_of_the_members_that_went(world: World) -> None:
    await create(world, tenant("acme", database={"instances": 5}))
    await world.reconcile("acme")
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"database": {"instances": 3}}})
    await world.reconcile("acme")
    found = {item["metadata"]["name"] for item in await world.admin.list(kinds.SERVICE, "tenant-acme")}
    assert found == {"postgres", "postgres-0", "postgres-1", "postgres-2", "app"}


async def test_passwords_stay_and_a_lost_secret_is_not_made_anew(world: World) -> None:
    await create(world, tenant("acme"))
    await world.reconcile("acme")
    before = await world.admin.get(kinds.SECRET, "postgres-credentials", "tenant-acme")
    await world.reconcile("acme", times=2)
    after = await world.admin.get(kinds.SECRET, "postgres-credentials", "tenant-acme")
    assert before is not None
    assert after is not None
    assert before["data"] == after["data"]
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-postgres-0", "namespace": "tenant-acme"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    await world.admin.create(claim)
    await world.admin.delete(kinds.SECRET, "postgres-credentials", "tenant-acme")
    await world.reconcile("acme")
    assert await world.admin.get(kinds.SECRET, "postgres-credentials", "tenant-acme") is None
    assert await world.admin.get(kinds.DEPLOYMENT, "app", "tenant-acme") is not None
    condition = (await world.conditions("acme"))["DatabaseReady"]
    assert condition["reason"] == "CredentialsLost"
    assert "restore the Secret" in condition["message"]


async def test_a_foreign_namespace_is_never_adopted(world: World) -> None:
    await world.admin.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-acme", "labels": {"mine": "yes"}}}
    )
    await create(world, tenant("acme"))
    await world.reconcile("acme", times=2)
    found = await world.admin.get(kinds.NAMESPACE, "tenant-acme")
    assert found is not None
    assert labels.OWNER_UID not in found["metadata"]["labels"]
    assert await world.admin.list(kinds.STATEFUL_SET, "tenant-acme") == []
    assert await edge_secret(world, "acme") is None
    condition = (await world.conditions("acme"))["Ready"]
    assert condition["reason"] == "NamespaceNotOwned"
    assert "delete it, or create the tenant under another name" in condition["message"]
    await world.admin.delete(kinds.TENANT, "acme")
    await world.reconcile("acme")
    assert await world.admin.get(kinds.TENANT, "acme") is None
    assert await world.admin.get(kinds.NAMESPACE, "tenant-acme") is not None


async def test_a_number_has_one_tenant_and_the_older_one_keeps_it(world: World) -> None:
    await create(world, tenant("older", numbers=[NUMBER]))
    await asyncio.sleep(1.1)  # creationTimestamp counts seconds
    other = {"number": "+380441234568", "queue": "sales"}
    await create(world, tenant("newer", numbers=[NUMBER, other]))
    await world.reconcile("older")
    await world.reconcile("newer", times=2)
    older, newer = await edge_secret(world, "older"), await edge_secret(world, "newer")
    assert older is not None
    assert newer is not None
    assert older["numbers"] == [NUMBER["number"]]
    assert newer["numbers"] == [other["number"]]
    condition = (await world.conditions("newer"))["NumbersProvisioned"]
    assert condition["reason"] == "NumberClaimed"
    assert "+380441234567 is tenant older's" in condition["message"]
    await world.admin.merge_patch(kinds.TENANT, "older", {"spec": {"numbers": []}})
    await world.reconcile("newer")
    newer = await edge_secret(world, "newer")
    assert newer is not None
    assert newer["numbers"] == [NUMBER["number"], other["number"]]


async def test_a_missing_region_is_told_and_the_rest_goes_on(world: World) -> None:
    await create(world, tenant("acme", regions=["kyiv", "lviv"]))
    await world.reconcile("acme", times=2)
    condition = (await world.conditions("acme"))["RoutesPublished"]
    assert condition["reason"] == "RegionMissing"
    assert "lviv" in condition["message"]
    assert await edge_secret(world, "acme") is not None
    assert await world.admin.get(kinds.STATEFUL_SET, "postgres", "tenant-acme") is not None


async def test_leaving_a_region_takes_the_edge_secret_away(world: World) -> None:
    made = await create(world, region("lviv"))
    await world.admin.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": names.region_namespace("lviv"),
                "labels": {labels.OWNER_UID: made["metadata"]["uid"]},
            },
        }
    )
    await create(world, tenant("acme", regions=["kyiv", "lviv"]))
    await world.reconcile("acme")
    assert await edge_secret(world, "acme", "lviv") is not None
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"regions": ["kyiv"]}})
    await world.reconcile("acme")
    assert await edge_secret(world, "acme", "lviv") is None
    assert await edge_secret(world, "acme") is not None


async def test_the_policy_names_the_nodes_of_the_tenants_regions(world: World) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "edge-a", "labels": {"topology.kubernetes.io/region": REGION}},
        "spec": {"podCIDR": "198.19.1.0/24", "podCIDRs": ["198.19.1.0/24"]},
    }
    await world.admin.create(node)
    address = {"addresses": [{"type": "InternalIP", "address": "198.18.1.2"}]}
    await world.admin.merge_patch(kinds.NODE, "edge-a", {"status": address}, subresource="status")
    await create(world, tenant("acme"))
    await world.reconcile("acme")
    found = await world.admin.get(kinds.NETWORK_POLICY, "app", "tenant-acme")
    assert found is not None
    blocks = [source["ipBlock"]["cidr"] for source in found["spec"]["ingress"][0]["from"] if "ipBlock" in source]
    assert blocks == ["198.18.1.2/32", "198.19.1.0/31"]


async def test_deletion_tells_the_edge_first_then_waits_for_the_namespace(world: World) -> None:
    await create(world, tenant("acme", numbers=[NUMBER]))
    await world.reconcile("acme")
    await world.admin.delete(kinds.TENANT, "acme")
    writes = await world.reconcile("acme")
    assert [write.split(" ")[0] for write in writes] == ["DELETE", "DELETE", "PATCH"]
    assert "edge-tenant-acme" in writes[0]
    assert await edge_secret(world, "acme") is None
    condition = (await world.conditions("acme"))["Ready"]
    assert condition["reason"] == "Deleting"
    assert "tenant-acme" in condition["message"]
    assert await world.reconcile("acme") == []
    await world.empty_namespace("tenant-acme")
    await world.finish_namespace("tenant-acme")
    await world.reconcile("acme")
    assert await world.admin.get(kinds.TENANT, "acme") is None


async def test_a_tenant_made_again_waits_for_its_old_namespace(world: World) -> None:
    await create(world, tenant("acme"))
    await world.reconcile("acme")
    await world.admin.merge_patch(kinds.TENANT, "acme", {"metadata": {"finalizers": None}})
    await world.admin.delete(kinds.TENANT, "acme")
    await world.admin.delete(kinds.NAMESPACE, "tenant-acme")
    await create(world, tenant("acme"))
    await world.reconcile("acme", times=2)
    assert (await world.conditions("acme"))["Ready"]["reason"] == "NamespaceTerminating"
    await world.empty_namespace("tenant-acme")
    await world.finish_namespace("tenant-acme")
    await world.reconcile("acme", times=2)
    assert (await world.conditions("acme"))["NamespaceOwned"]["status"] == "True"
    assert await world.admin.get(kinds.STATEFUL_SET, "postgres", "tenant-acme") is not None


async def test_the_operator_may_die_after_any_write(world: World) -> None:
    await create(world, tenant("acme", numbers=[NUMBER]))
    deaths = 0
    while deaths < 200:
        async with world.operator() as (reconcile, client):
            client.crash_after = 1
            try:
                await reconcile("acme")
            except Crash:
                deaths += 1
                continue
            break
    assert deaths > 20
    assert await world.reconcile("acme") == []
    assert await edge_secret(world, "acme") is not None
    conditions = await world.conditions("acme")
    assert conditions["NamespaceOwned"]["status"] == "True"


async def test_an_app_that_does_not_answer_is_told(world: World) -> None:
    await create(world, tenant("acme", numbers=[NUMBER]))
    await world.reconcile("acme")
    await world.make_pods("acme")
    world.app.broken = "GET /platform/v1/tenant: TimeoutError"
    await world.reconcile("acme")
    condition = (await world.conditions("acme"))["NumbersProvisioned"]
    assert (condition["status"], condition["reason"]) == ("Unknown", "AppUnreachable")


@pytest.mark.parametrize("field", ["numbers", "database"])
async def test_a_spec_that_got_past_the_rules_stalls_and_says_which_field(world: World, field: str) -> None:
    bad = {"numbers": [{"number": "123", "queue": "sales"}], "database": {"instances": 9}}[field]
    await _store_unchecked(world, tenant("acme", **{field: bad}))
    await world.reconcile("acme", times=2)
    conditions = await world.conditions("acme")
    assert conditions["Stalled"]["status"] == "True"
    assert conditions["Ready"]["reason"] == "InvalidSpec"
    assert f"spec.{field}" in conditions["Ready"]["message"]
    assert await world.admin.get(kinds.NAMESPACE, "tenant-acme") is None


async def _store_unchecked(world: World, manifest: Manifest) -> None:
    """As if the object were older than the rule: the CRD's schema is opened for the moment."""
    crd = next(item for item in all_crds().values() if item["spec"]["names"]["kind"] == "Tenant")
    opened = json.loads(json.dumps(crd))
    schema = opened["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    del schema["x-kubernetes-validations"]
    await world.admin.apply(opened)

    async with asyncio.timeout(20):
        while True:
            try:
                await world.admin.create(manifest)
                break
            except Exception:
                await asyncio.sleep(0.1)
    await world.admin.apply(crd)


async def ready(world: World) -> None:
    await create(world, tenant("acme"))
    await world.reconcile("acme")
    await world.patroni_store("acme", "config", {"config": "{}"})
    await world.make_pods("acme")
    await _patroni_has_its_settings(world, "acme")
    await world.reconcile("acme", times=2)


async def _ask_for_a_switchover(world: World, value: str) -> None:
    await world.admin.merge_patch(kinds.TENANT, "acme", {"metadata": {"annotations": {labels.SWITCHOVER: value}}})


async def _switchover(world: World) -> object:
    found = await world.admin.get(kinds.TENANT, "acme")
    assert found is not None
    assert labels.SWITCHOVER not in (found["metadata"].get("annotations") or {})
    return found["status"]["database"].get("lastSwitchover")


async def test_a_requested_switchover_is_made_once_and_answered(world: World) -> None:
    await ready(world)
    request = datetime.now(UTC).isoformat()
    await _ask_for_a_switchover(world, request)
    await world.reconcile("acme", times=3)
    assert len(world.agent.asked) == 1
    answer = {"requested": request, "succeeded": True, "message": "postgres-0 has given its role away"}
    assert await _switchover(world) == answer
    assert await world.reconcile("acme") == [], "nothing is written at rest"
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"displayName": "Another"}})
    await world.reconcile("acme")
    assert await _switchover(world) == answer, "the answer stays"


async def test_a_switchover_that_the_agent_refuses_is_not_tried_again(world: World) -> None:
    await ready(world)
    world.agent.broken = "nobody could take over now"
    await _ask_for_a_switchover(world, request := datetime.now(UTC).isoformat())
    await world.reconcile("acme", times=3)
    assert len(world.agent.asked) == 1
    assert await _switchover(world) == {
        "requested": request,
        "succeeded": False,
        "message": "nobody could take over now",
    }


async def test_a_request_from_an_old_manifest_changes_nothing(world: World) -> None:
    await ready(world)
    await _ask_for_a_switchover(world, "2020-01-01T00:00:00Z")
    await world.reconcile("acme", times=2)
    assert world.agent.asked == []
    found = await _switchover(world)
    assert isinstance(found, dict)
    assert not found["succeeded"]
    assert "ask again" in found["message"]


async def test_an_operator_that_dies_after_taking_the_request_never_acts_on_it_later(world: World) -> None:
    await ready(world)
    await _ask_for_a_switchover(world, datetime.now(UTC).isoformat())
    async with world.operator() as (reconcile, client):
        client.crash_after = 1
        with pytest.raises(Crash):
            await reconcile("acme")
        assert client.writes == [f"PATCH {kinds.TENANT.path(name='acme')}"]
    await world.reconcile("acme", times=2)
    assert world.agent.asked == []
    assert await _switchover(world) is None
