"""Deletion of a Tenant and what is left of it, against a real API server (controllers are played by `World`)."""

from __future__ import annotations

import pytest
from api.acme import NAMESPACE, delete, dying, namespace, password, replicas, running, there
from api.world import World, tenant

from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.client import ApiError

NOBODY = "00000000-0000-4000-8000-000000000000"


async def test_retained_are_the_volumes_what_opens_them_and_patronis_store(world: World) -> None:
    uid = await running(world)
    before = await password(world)
    await delete(world)
    assert await there(world, kinds.PERSISTENT_VOLUME_CLAIM) == {f"data-postgres-{i}" for i in range(3)}
    assert await there(world, kinds.SECRET) == {names.POSTGRES_CREDENTIALS, names.API_ADMIN}
    assert await there(world, kinds.CONFIG_MAP) == {"postgres-config", "postgres-sync"}
    for kind in (kinds.POD, kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.SERVICE, kinds.ROLE, kinds.NETWORK_POLICY):
        assert await there(world, kind) == set()
    assert await password(world) == before
    marks = (await namespace(world))["metadata"]
    assert marks["labels"][labels.RETAINED] == "true"
    assert marks["labels"][labels.OWNER_UID] == uid
    assert marks["annotations"][labels.RETAINED_SINCE]
    assert await world.admin.list(kinds.SECRET, names.region_namespace("kyiv")) == []


async def test_the_database_is_not_stopped_before_the_last_pod_of_the_app(world: World) -> None:
    await running(world)
    await world.admin.delete(kinds.TENANT, "acme")
    for _ in range(2):
        await world.reconcile("acme")
        assert await replicas(world, kinds.DEPLOYMENT, "app") == 0
        assert await replicas(world, kinds.STATEFUL_SET, "postgres") == 3
    message = (await world.conditions("acme"))["Ready"]["message"]
    assert "app-0, app-1" in message
    assert "its data are kept" in message
    await world.end_pods("acme")
    await world.reconcile("acme")
    assert await replicas(world, kinds.STATEFUL_SET, "postgres") == 0
    assert "postgres-0, postgres-1, postgres-2" in (await world.conditions("acme"))["Ready"]["message"]


async def test_delete_erases_the_namespace_with_its_volumes(world: World) -> None:
    await running(world, deletionPolicy="Delete")
    await world.admin.delete(kinds.TENANT, "acme")
    await world.reconcile("acme")
    assert (await namespace(world))["metadata"]["deletionTimestamp"]


async def test_the_policy_can_still_become_delete_while_the_deletion_waits(world: World) -> None:
    await running(world)
    await world.admin.delete(kinds.TENANT, "acme")
    await world.reconcile("acme")
    assert "deletionTimestamp" not in (await namespace(world))["metadata"]
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"deletionPolicy": "Delete"}})
    await world.reconcile("acme")
    assert (await namespace(world))["metadata"]["deletionTimestamp"]


async def test_a_tenant_that_never_had_a_volume_leaves_nothing(world: World) -> None:
    await world.admin.create(tenant("acme"))
    await world.reconcile("acme")
    await world.admin.delete(kinds.TENANT, "acme")
    await world.reconcile("acme")
    assert (await namespace(world))["metadata"]["deletionTimestamp"]


async def test_a_new_tenant_of_the_name_sees_nothing_of_retained_data(world: World) -> None:
    uid = await running(world)
    await delete(world)
    before = await namespace(world)
    await world.admin.create(tenant("acme"))
    await world.reconcile("acme", times=3)
    condition = (await world.conditions("acme"))["Ready"]
    assert condition["reason"] == "DataRetained"
    assert f"set spec.database.adopt to {uid}" in condition["message"]
    assert "kubectl delete namespace tenant-acme" in condition["message"]
    assert (await namespace(world))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert await there(world, kinds.STATEFUL_SET) == set()
    await world.admin.delete(kinds.TENANT, "acme")
    await world.reconcile("acme")
    assert await world.admin.get(kinds.TENANT, "acme") is None
    assert (await namespace(world))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_adoption_goes_on_with_the_same_volumes_and_passwords(world: World) -> None:
    uid = await running(world)
    before = await password(world)
    await delete(world)
    made = await world.admin.create(tenant("acme", database={"adopt": uid}))
    await world.reconcile("acme", times=2)
    assert await password(world) == before
    assert await replicas(world, kinds.STATEFUL_SET, "postgres") == 3
    assert (await world.conditions("acme"))["NamespaceOwned"]["reason"] == "Owned"
    marks = (await namespace(world))["metadata"]
    assert marks["labels"][labels.OWNER_UID] == made["metadata"]["uid"]
    assert labels.RETAINED not in marks["labels"]
    assert labels.RETAINED_SINCE not in marks["annotations"]
    await world.reconcile("acme")
    assert await world.reconcile("acme") == []


async def test_data_retained_once_more_are_not_opened_by_the_uid_of_before(world: World) -> None:
    first = await running(world)
    await delete(world)
    again = await world.admin.create(tenant("acme", database={"adopt": first}))
    await world.reconcile("acme", times=2)
    await delete(world)
    await world.admin.create(tenant("acme", database={"adopt": first}))
    await world.reconcile("acme", times=2)
    condition = (await world.conditions("acme"))["Ready"]
    assert condition["reason"] == "AdoptionRefused"
    assert again["metadata"]["uid"] in condition["message"]
    assert await there(world, kinds.STATEFUL_SET) == set()


async def test_there_is_no_empty_database_where_data_to_adopt_are_missing(world: World) -> None:
    await world.admin.create(tenant("acme", database={"adopt": NOBODY}))
    await world.reconcile("acme", times=2)
    assert await world.admin.get(kinds.NAMESPACE, NAMESPACE) is None
    condition = (await world.conditions("acme"))["Ready"]
    assert condition["reason"] == "NothingToAdopt"
    assert "remove the field" in condition["message"]
    assert await world.reconcile("acme") == [], "it is told once, and not with another certificate each time"
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"database": {"adopt": None}}})
    await world.reconcile("acme")
    assert await replicas(world, kinds.STATEFUL_SET, "postgres") == 3


async def test_a_finalizer_removed_by_hand_half_way_loses_nothing(world: World) -> None:
    uid = await running(world)
    await world.admin.delete(kinds.TENANT, "acme")
    await world.reconcile("acme")
    await world.admin.merge_patch(kinds.TENANT, "acme", {"metadata": {"finalizers": None}})
    await world.admin.create(tenant("acme", database={"adopt": uid}))
    await world.reconcile("acme", times=2)
    assert await replicas(world, kinds.STATEFUL_SET, "postgres") == 3
    assert await replicas(world, kinds.DEPLOYMENT, "app") == 2


async def test_a_namespace_without_the_mark_is_not_adopted(world: World) -> None:
    await world.admin.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {labels.OWNER_UID: NOBODY}},
        }
    )
    await world.admin.create(tenant("acme", database={"adopt": NOBODY}))
    await world.reconcile("acme", times=2)
    assert (await world.conditions("acme"))["Ready"]["reason"] == "NamespaceNotOwned"
    assert await there(world, kinds.STATEFUL_SET) == set()


async def test_the_operator_may_die_after_any_write_of_a_deletion_and_an_adoption(world: World) -> None:
    uid = await running(world)
    before = await password(world)
    await world.admin.delete(kinds.TENANT, "acme")
    assert await dying(world) > 15
    assert await world.admin.get(kinds.TENANT, "acme") is None
    assert await there(world, kinds.SECRET) == {names.POSTGRES_CREDENTIALS, names.API_ADMIN}
    await world.admin.create(tenant("acme", database={"adopt": uid}))
    assert await dying(world) > 15
    assert await password(world) == before
    assert len(await there(world, kinds.PERSISTENT_VOLUME_CLAIM)) == 3
    assert (await world.conditions("acme"))["NamespaceOwned"]["reason"] == "Owned"
    assert await world.reconcile("acme") == []


@pytest.mark.parametrize("adopt", ["acme", NOBODY.upper() + "x", ""])
async def test_an_adopt_that_is_no_uid_is_refused_with_the_way_to_find_it(world: World, adopt: str) -> None:
    with pytest.raises(ApiError, match=r"spec.database.adopt"):
        await world.admin.create(tenant("acme", database={"adopt": adopt}))


async def test_a_policy_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(ApiError, match=r'spec.deletionPolicy: Unsupported value: "Orphan".*"Retain", "Delete"'):
        await world.admin.create(tenant("acme", deletionPolicy="Orphan"))
