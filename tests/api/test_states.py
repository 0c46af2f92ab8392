"""`spec.state` there and back, against a real API server (controllers are played by `World`)."""

from __future__ import annotations

import json

import pytest
from api.acme import NAMESPACE, delete, dying, password, replicas, running, there
from api.world import REGION, World, tenant

from okitoki.database.stopping import stop_announced
from okitoki.kube import names
from okitoki.kube import resources as kinds
from okitoki.kube.client import ApiError
from okitoki.kube.pki import decode

VOLUMES = {f"data-postgres-{index}" for index in range(3)}


async def become(world: World, state: str) -> None:
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"state": state}})


async def scale(world: World) -> tuple[int, int]:
    """Pods of the app and members of the database that shall run."""
    return await replicas(world, kinds.DEPLOYMENT, "app"), await replicas(world, kinds.STATEFUL_SET, "postgres")


async def announced(world: World) -> bool:
    return stop_announced(await world.admin.get(kinds.CONFIG_MAP, "postgres-config", NAMESPACE))


async def told_to_the_edge(world: World) -> str:
    found = await world.admin.get(kinds.SECRET, names.edge_tenant_secret("acme"), names.region_namespace(REGION))
    assert found is not None
    return str(json.loads(decode(found["data"]["tenant.json"]))["state"])


async def ready(world: World) -> tuple[str, str]:
    condition = (await world.conditions("acme"))["Ready"]
    return condition["status"], condition["reason"]


async def sleep(world: World, passes: int = 5) -> None:
    """Pause acme and play the controllers until it sleeps."""
    await become(world, "Paused")
    for _ in range(passes):
        await world.reconcile("acme")
        await world.end_pods("acme")
    assert await ready(world) == ("True", "Paused")


async def lead(world: World, pod: str, role: str | None) -> None:
    """Patroni's label on a member."""
    patch = {"metadata": {"labels": {"role": role}}}
    await world.admin.merge_patch(kinds.POD, pod, patch, namespace=NAMESPACE)


async def test_a_paused_tenant_stops_in_order_and_keeps_its_data(world: World) -> None:
    await running(world)
    before = await password(world)
    await become(world, "Paused")
    await world.reconcile("acme")
    assert await told_to_the_edge(world) == "Paused"
    assert await scale(world) == (0, 3)
    await world.reconcile("acme", times=2)
    assert await scale(world) == (0, 3), "the app's pods are still there"
    assert not await announced(world)
    await world.end_pods("acme")
    await world.reconcile("acme")
    assert await announced(world)
    assert await scale(world) == (0, 3), "the members must know before the first one stops"
    await world.reconcile("acme")
    assert await scale(world) == (0, 0)
    await world.reconcile("acme")
    assert await ready(world) == ("False", "Stopping"), "its pods are still there"
    await world.end_pods("acme")
    await world.reconcile("acme")
    assert await ready(world) == ("True", "Paused")
    assert await there(world, kinds.POD) == set()
    assert await there(world, kinds.PERSISTENT_VOLUME_CLAIM) == VOLUMES
    assert {"postgres-config", "postgres-sync"} <= await there(world, kinds.CONFIG_MAP)
    assert await password(world) == before
    assert await world.reconcile("acme") == []


async def test_it_wakes_with_the_same_volumes_passwords_and_store(world: World) -> None:
    await running(world)
    before = await password(world)
    await sleep(world)
    await become(world, "Active")
    await world.reconcile("acme")
    assert await scale(world) == (2, 3)
    assert await told_to_the_edge(world) == "Active"
    assert await password(world) == before
    assert await there(world, kinds.PERSISTENT_VOLUME_CLAIM) == VOLUMES
    assert (await world.conditions("acme"))["DatabaseReady"]["reason"] == "Waking"
    await world.make_pods("acme")
    await world.reconcile("acme", times=2)
    assert not await announced(world)
    assert await ready(world) == ("True", "Ready")
    assert await world.reconcile("acme") == []


@pytest.mark.parametrize("passes", [1, 2, 3, 4])
async def test_a_change_of_mind_half_way_runs_everything_again_and_can_be_changed_again(
    world: World, passes: int
) -> None:
    await running(world)
    await become(world, "Paused")
    for index in range(passes):
        await world.reconcile("acme")
        if index == 0:
            await world.end_pods("acme")
    await become(world, "Active")
    await world.reconcile("acme")
    assert await scale(world) == (2, 3)
    assert not await announced(world)
    assert await told_to_the_edge(world) == "Active"
    await become(world, "Paused")
    await world.reconcile("acme")
    assert (await scale(world))[0] == 0
    assert await told_to_the_edge(world) == "Paused"


async def test_a_failover_is_let_finish_before_the_database_stops(world: World) -> None:
    await running(world)
    await lead(world, "postgres-0", None)
    await become(world, "Paused")
    for _ in range(3):
        await world.reconcile("acme")
        await world.end_pods("acme")
    assert await scale(world) == (0, 3)
    condition = (await world.conditions("acme"))["Ready"]
    assert (condition["status"], condition["reason"]) == ("False", "Stopping")
    assert "a failover is let finish first" in condition["message"]
    await lead(world, "postgres-1", "primary")
    status = {"metadata": {"annotations": {"status": '{"state":"running"}'}}}
    await world.admin.merge_patch(kinds.POD, "postgres-1", status, namespace=NAMESPACE)
    await world.reconcile("acme", times=2)
    assert await scale(world) == (0, 0)


async def test_a_primary_that_stops_first_does_not_call_the_others_back(world: World) -> None:
    await running(world)
    await become(world, "Paused")
    await world.reconcile("acme")
    await world.end_pods("acme")
    await world.reconcile("acme", times=2)
    await world.admin.delete(kinds.POD, "postgres-0", NAMESPACE, grace_seconds=0)
    await world.reconcile("acme", times=2)
    assert await scale(world) == (0, 0)
    assert "postgres-1, postgres-2" in (await world.conditions("acme"))["Ready"]["message"]


async def test_the_operator_may_die_after_any_write_of_a_pause_and_of_a_waking(world: World) -> None:
    await running(world)
    before = await password(world)
    await become(world, "Paused")
    assert await dying(world) >= 5
    assert await ready(world) == ("True", "Paused")
    assert await scale(world) == (0, 0)
    await become(world, "Active")
    assert await dying(world) >= 3
    assert await scale(world) == (2, 3)
    assert await told_to_the_edge(world) == "Active"
    await world.make_pods("acme")
    assert await dying(world) >= 2
    assert not await announced(world)
    assert await ready(world) == ("True", "Ready")
    assert await password(world) == before
    assert await there(world, kinds.PERSISTENT_VOLUME_CLAIM) == VOLUMES


async def test_a_sleeping_tenant_can_be_deleted_and_its_data_adopted_awake(world: World) -> None:
    uid = await running(world)
    await sleep(world)
    await delete(world)
    await world.admin.create(tenant("acme", database={"adopt": uid}))
    await world.reconcile("acme", times=2)
    assert await scale(world) == (2, 3)
    assert (await world.conditions("acme"))["DatabaseReady"]["reason"] == "Waking"


async def test_a_tenant_that_is_made_paused_gets_its_first_pod_when_it_wakes(world: World) -> None:
    await world.admin.create(tenant("acme", state="Paused"))
    await world.reconcile("acme", times=2)
    await world.end_pods("acme")
    await world.reconcile("acme")
    assert await scale(world) == (0, 0)
    assert await ready(world) == ("True", "Paused")
    await become(world, "Active")
    await world.reconcile("acme")
    assert await scale(world) == (2, 3)


async def test_a_suspension_and_its_end_change_what_the_edge_is_told_and_nothing_else(world: World) -> None:
    await running(world)
    await world.reconcile("acme", times=2)
    assert await ready(world) == ("True", "Ready")
    for state, reason in (("Suspended", "Suspended"), ("Active", "Ready")):
        await become(world, state)
        writes = [write for write in await world.reconcile("acme") if "/status" not in write]
        assert [write.rpartition("/")[2] for write in writes] == ["edge-tenant-acme"]
        assert await told_to_the_edge(world) == state
        assert await ready(world) == ("True", reason)
        assert await scale(world) == (2, 3)
        assert await world.reconcile("acme") == []


async def test_a_suspended_tenant_can_be_paused(world: World) -> None:
    await running(world)
    await become(world, "Suspended")
    await world.reconcile("acme")
    await sleep(world)
    await become(world, "Suspended")
    await world.reconcile("acme")
    assert await scale(world) == (2, 3)
    assert await told_to_the_edge(world) == "Suspended"


NUMBERS = [{"number": "+380441234567", "queue": "sales"}, {"number": "+380441234568", "queue": "sales"}]
LANDLINES = {"landlines": ["+380447654321"]}


async def told_to_the_app(world: World) -> bool:
    return bool(world.app.profiles[NAMESPACE].get("restricted", False))


async def test_a_restriction_and_its_end_tell_edge_and_app_and_nobody_else(world: World) -> None:
    await running(world, numbers=NUMBERS, backup=LANDLINES)
    await world.reconcile("acme", times=2)
    before = await world.admin.list(kinds.POD, NAMESPACE)
    for state, reason in (("Restricted", "Restricted"), ("Active", "Ready"), ("Restricted", "Restricted")):
        await become(world, state)
        writes = [write for write in await world.reconcile("acme") if "/status" not in write]
        assert [write.rpartition("/")[2] for write in writes] == ["edge-tenant-acme"]
        assert await told_to_the_edge(world) == state
        assert await told_to_the_app(world) == (state == "Restricted")
        assert await ready(world) == ("True", reason)
        assert await scale(world) == (2, 3)
        assert await world.reconcile("acme") == []
    assert await world.admin.list(kinds.POD, NAMESPACE) == before
    found = await world.conditions("acme")
    assert "incoming calls go to landlines (2 of their numbers);" in found["Restricted"]["message"]
    assert found["LandlineArmed"]["status"] == "True"


async def test_a_restricted_tenant_without_a_landline_says_what_becomes_of_its_calls(world: World) -> None:
    await running(world, numbers=[{**NUMBERS[0], **LANDLINES}, NUMBERS[1]], state="Restricted")
    await world.reconcile("acme", times=2)
    found = await world.conditions("acme")
    assert found["LandlineArmed"]["reason"] == "RestrictedWithoutLandline"
    assert "every call to +380441234568 gets 480; set spec.backup.landlines" in found["LandlineArmed"]["message"]
    assert "to 480 for +380441234568" in found["Ready"]["message"]
    assert await ready(world) == ("True", "Restricted"), "a complaint must not wait for a landline"
    await world.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"backup": LANDLINES}})
    await world.reconcile("acme")
    assert (await world.conditions("acme"))["LandlineArmed"]["reason"] == "Armed"


@pytest.mark.parametrize("other", ["Suspended", "Paused"])
async def test_a_restriction_becomes_another_state_and_comes_back(world: World, other: str) -> None:
    await running(world, numbers=NUMBERS, backup=LANDLINES)
    await become(world, "Restricted")
    await world.reconcile("acme", times=2)
    if other == "Paused":
        await sleep(world)
        assert "Restricted" not in await world.conditions("acme")
    else:
        await become(world, other)
        await world.reconcile("acme")
        assert not await told_to_the_app(world)
    assert await told_to_the_edge(world) == other
    await become(world, "Restricted")
    await world.reconcile("acme")
    assert await told_to_the_edge(world) == "Restricted"
    assert await scale(world) == (2, 3)
    if other == "Paused":
        await world.make_pods("acme")
    await world.reconcile("acme", times=2)
    assert await told_to_the_app(world)
    assert await ready(world) == ("True", "Restricted")
    assert await world.reconcile("acme") == []


async def test_the_operator_may_die_after_any_write_of_a_restriction(world: World) -> None:
    await running(world, numbers=NUMBERS, backup=LANDLINES)
    await world.reconcile("acme", times=2)
    for state, reason in (("Restricted", "Restricted"), ("Active", "Ready")):
        await become(world, state)
        assert await dying(world) >= 2
        assert await told_to_the_edge(world) == state
        assert await told_to_the_app(world) == (state == "Restricted")
        assert await ready(world) == ("True", reason)


async def test_a_state_that_does_not_exist_is_refused(world: World) -> None:
    named = '"Active", "Paused", "Restricted", "Suspended"'
    with pytest.raises(ApiError, match=rf'spec.state: Unsupported value: "Asleep".*{named}'):
        await world.admin.create(tenant("acme", state="Asleep"))
