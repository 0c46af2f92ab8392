"""Other field managers on our objects, against a real API server: set back, told, and never a loop without a bound."""

from __future__ import annotations

from typing import Any

import pytest
from api.world import World, tenant

from okitoki.kube import names
from okitoki.kube import resources as kinds
from okitoki.kube.drift import AT_ONCE, pause_after

NAMESPACE = "tenant-acme"


@pytest.fixture
async def acme(world: World) -> World:
    await world.admin.create(tenant("acme"))
    await world.reconcile("acme", times=2)
    world.told.clear()
    return world


async def edit(world: World, replicas: int) -> None:
    """As `kubectl edit` does."""
    await world.admin.request(
        "PATCH", kinds.DEPLOYMENT.path(NAMESPACE, names.APP), body={"spec": {"replicas": replicas}},
        params={"fieldManager": "kubectl-edit"}, content_type="application/merge-patch+json",
    )  # fmt: skip


async def apply(world: World, replicas: int, manager: str = "argocd") -> None:
    """Another's server-side apply, with force."""
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.APP},
        "spec": {"replicas": replicas},
    }
    await world.admin.request(
        "PATCH", kinds.DEPLOYMENT.path(NAMESPACE, names.APP), body=body,
        params={"fieldManager": manager, "force": "true"}, content_type="application/apply-patch+yaml",
    )  # fmt: skip


async def deployment(world: World) -> dict[str, Any]:
    found = await world.admin.get(kinds.DEPLOYMENT, names.APP, NAMESPACE)
    assert found is not None
    return found


async def test_a_field_that_somebody_edits_is_set_back_with_one_write_and_told(acme: World) -> None:
    await edit(acme, 7)
    assert len(await acme.reconcile("acme")) == 1
    assert (await deployment(acme))["spec"]["replicas"] == 2
    assert acme.told == [
        ("DriftRepaired", "Deployment tenant-acme/app: spec.replicas was changed by kubectl-edit, and was set back")
    ]
    assert await acme.reconcile("acme") == []
    assert len(acme.told) == 1


async def test_a_field_that_another_manager_took_with_force_is_ours_again(acme: World) -> None:
    await apply(acme, 5)
    await acme.reconcile("acme")
    found = await deployment(acme)
    assert found["spec"]["replicas"] == 2
    owners = [
        entry["manager"]
        for entry in found["metadata"]["managedFields"]
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    ]
    assert owners == ["okitoki-operator"]
    assert "argocd" in acme.told[0][1]


async def test_a_manager_that_insists_meets_a_bound_and_the_condition_names_it(acme: World) -> None:
    async with acme.operator() as (reconcile, client):
        for _ in range(12):
            await apply(acme, 5)
            wish = await reconcile("acme")
        ours = [write for write in client.writes if "/deployments/" in write]
        assert 0 < len(ours) < 6
        assert wish is not None
        condition = (await acme.conditions("acme"))["Applied"]
        assert (condition["status"], condition["reason"]) == ("False", "Contested")
        assert "spec.replicas was changed by argocd again and again" in condition["message"]
        assert "leave the field" in condition["message"]
        assert (await acme.conditions("acme"))["Ready"]["reason"] == "Contested"
        count = len(client.writes)
        for _ in range(5):
            await reconcile("acme")
        assert len(client.writes) == count, "nothing is written while it waits"
        acme.clock += pause_after(AT_ONCE)
        await reconcile("acme")
        assert (await deployment(acme))["spec"]["replicas"] == 2
        await apply(acme, 5)
        await reconcile("acme")
        assert (await deployment(acme))["spec"]["replicas"] == 5, "it waits again"
        # What is ours to change is not held up by it.
        await acme.admin.merge_patch(kinds.TENANT, "acme", {"spec": {"app": {"replicas": 3}}})
        await reconcile("acme")
        assert (await deployment(acme))["spec"]["replicas"] == 3
        assert (await acme.conditions("acme"))["Applied"]["status"] == "True"


async def test_an_annotation_of_ours_that_is_taken_away_again_and_again_meets_the_same_bound(acme: World) -> None:
    async with acme.operator() as (reconcile, client):
        await edit(acme, 7)
        await reconcile("acme")
        for _ in range(12):
            annotations = {"platform.oki-toki.net/applied-hash": None}
            await acme.admin.merge_patch(
                kinds.DEPLOYMENT, names.APP, {"metadata": {"annotations": annotations}}, namespace=NAMESPACE
            )
            await reconcile("acme")
        assert len([write for write in client.writes if "/deployments/" in write]) < 6


async def test_what_others_add_is_theirs(acme: World) -> None:
    patch = {"metadata": {"labels": {"team": "sales"}, "annotations": {"note": "x"}}}
    await acme.admin.merge_patch(kinds.DEPLOYMENT, names.APP, patch, namespace=NAMESPACE)
    assert await acme.reconcile("acme") == []
    assert (await deployment(acme))["metadata"]["labels"]["team"] == "sales"
    assert acme.told == []
