"""From watch events to keys in the queue."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from unit.operator.factory import AUTHORITIES

from okitoki.controller import Controller
from okitoki.kube import labels
from okitoki.kube.client import ApiError, Client
from okitoki.kube.events import Recorder
from okitoki.kube.resources import Manifest
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Context, Images
from okitoki.tenant.kind import TenantKind


class Store:
    """An API that answers GET of tenants: by error, or none."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def get(self, kind: Any, name: str, namespace: str | None = None) -> Manifest | None:
        self.asked.append(name)
        if self.error:
            raise self.error
        return None


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def controller(store: Store) -> Controller:
    client = cast(Client, store)
    ctx = Context(client, Index(), Images("a", "p", "e"), "okitoki-system", AUTHORITIES, Recorder(client))
    return Controller(ctx, [TenantKind()])


def a_tenant(name: str, *numbers: str, regions: tuple[str, ...] = ("kyiv",)) -> dict[str, Any]:
    return {
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"regions": list(regions), "numbers": [{"number": number} for number in numbers]},
    }


async def keys(controller: Controller) -> list[str]:
    """What is asked for at once, as after a pause."""
    found = []
    while len(controller.queue):
        key = await controller.queue.get()
        controller.queue.done(key)
        controller.queue.forget(key)
        found.append(key[1])
    return sorted(found)


async def test_a_tenants_spec_asks_for_work_and_a_repeated_event_does_not(controller: Controller) -> None:
    controller.notice("ADDED", a_tenant("acme"))
    assert await keys(controller) == ["acme"]
    controller.notice("MODIFIED", {**a_tenant("acme"), "status": {"numbers": 1}})
    assert await keys(controller) == []
    controller.notice("MODIFIED", a_tenant("acme", "+1"))
    assert await keys(controller) == ["acme"]
    controller.notice("DELETED", a_tenant("acme", "+1"))
    assert await keys(controller) == ["acme"]


async def test_an_owned_object_asks_for_its_owner(controller: Controller) -> None:
    owned = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "app", "namespace": "tenant-acme", "labels": labels.owned("app", tenant="acme")},
    }
    controller.notice(None, owned)
    assert await keys(controller) == ["acme"]
    controller.notice("DELETED", owned)
    assert await keys(controller) == ["acme"]


async def test_what_happens_to_owned_objects_right_after_a_reconcile_is_met_together(controller: Controller) -> None:
    labelled = {"namespace": "tenant-acme", "labels": labels.owned("app", tenant="acme")}
    controller.notice("ADDED", a_tenant("acme"))
    key = await controller.queue.get()
    for name in ("one", "two"):
        controller.notice("ADDED", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, **labelled}})
    controller.queue.done(key)
    assert await keys(controller) == []
    controller.notice("MODIFIED", a_tenant("acme", "+1"))
    assert await keys(controller) == ["acme"], "the spec does not wait"


async def test_a_freed_number_concerns_the_tenant_that_waits_for_it(controller: Controller) -> None:
    controller.notice("ADDED", a_tenant("older", "+1"))
    controller.notice("ADDED", a_tenant("newer", "+1"))
    await keys(controller)
    controller.notice("MODIFIED", a_tenant("older"))
    assert await keys(controller) == ["newer", "older"]


async def test_a_region_concerns_its_tenants_and_a_node_all(controller: Controller) -> None:
    controller.notice("ADDED", a_tenant("acme"))
    controller.notice("ADDED", a_tenant("globex", regions=("lviv",)))
    await keys(controller)
    region = {"kind": "VoiceRegion", "metadata": {"name": "lviv"}, "spec": {}}
    controller.notice("ADDED", region)
    assert await keys(controller) == ["globex"]
    controller.notice("ADDED", {"kind": "Node", "metadata": {"name": "a"}})
    assert await keys(controller) == ["acme", "globex"]


@pytest.mark.parametrize("error", [ApiError(500, "InternalError", ""), TimeoutError(), KeyError("a bug")])
async def test_a_failing_resource_is_tried_again_and_the_worker_lives(
    controller: Controller, store: Store, error: Exception
) -> None:
    store.error = error
    await controller._reconcile(("Tenant", "acme"))
    assert await controller.queue.get() == ("Tenant", "acme")
    assert store.asked == ["acme"]


async def test_a_word_of_an_edge_about_a_tenants_calls_asks_for_that_tenant_only(controller: Controller) -> None:
    versions = iter(range(1, 100))

    def edge(landlines: dict[str, Any], **further: Any) -> dict[str, Any]:
        annotations = {labels.EDGE_STATUS: json.dumps({"landlines": landlines, **further})}
        found = {"name": "edge-0", "namespace": "okitoki-region-kyiv", "labels": labels.owned("edge", region="kyiv")}
        metadata = {**found, "annotations": annotations, "resourceVersion": str(next(versions))}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}

    acme = {"mode": "landlines", "since": 5, "why": "no-routes", "switches": 1}
    globex = {**acme, "mode": "agents"}
    controller.notice(None, edge({"globex": globex}))
    assert await keys(controller) == ["globex"]
    controller.notice("MODIFIED", edge({"acme": acme, "globex": globex}))
    assert await keys(controller) == ["acme"]
    controller.notice("MODIFIED", edge({"acme": acme, "globex": globex}, holds=["sip"]))
    assert await keys(controller) == []
    controller.notice("MODIFIED", edge({}))
    assert await keys(controller) == []
    controller.notice("MODIFIED", edge({"acme": {**acme, "mode": "agents", "since": 9}}))
    assert await keys(controller) == ["acme"]
    controller.notice("DELETED", edge({"acme": acme}))
    assert await keys(controller) == []
