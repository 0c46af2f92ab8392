"""What the watch has shown to be unchanged is not read; whatever anybody changes is read, and set back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from api.world import World, tenant, wait_until

from okitoki.controller import Controller
from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.client import Client

NAMESPACE = names.tenant_namespace("acme")
UNREAD = {kind.path(NAMESPACE) for kind in (kinds.SERVICE, kinds.ROLE, kinds.NETWORK_POLICY, kinds.SERVICE_ACCOUNT)}


@pytest.fixture
async def at_rest(world: World) -> AsyncIterator[tuple[Controller, Any]]:
    """A controller that has made tenant acme."""
    await world.make_namespace("okitoki-system")
    await world.admin.create(tenant("acme"))
    async with world.controller() as (controller, client):
        await quiet(client)
        yield controller, client


async def quiet(client: Any) -> None:
    """Wait until something has been written and then nothing for two seconds, though it looked (it is not ready)."""

    async def written() -> bool:
        return bool(client.writes)

    await wait_until(written)
    count = -1
    while count != len(client.writes):
        count = len(client.writes)
        await asyncio.sleep(2)


async def test_a_second_look_reads_no_more_than_it_needs(at_rest: Any) -> None:
    controller, client = at_rest
    client.reads.clear()
    client.writes.clear()
    controller.add_all()
    await quiet_reads(client)
    assert kinds.SECRET.path(NAMESPACE) in client.reads
    assert not UNREAD & set(client.reads)
    assert kinds.NAMESPACE.path(name=NAMESPACE) not in client.reads
    assert client.writes == []


async def quiet_reads(client: Any) -> None:
    async def read() -> bool:
        return kinds.DEPLOYMENT.path(NAMESPACE) in client.reads

    await wait_until(read)
    await asyncio.sleep(1)


async def test_after_a_start_everything_is_compared_once(world: World, at_rest: Any) -> None:
    async with world.controller() as (_, client):
        await quiet_reads(client)
        assert set(client.reads) >= UNREAD
        assert client.writes == []


async def _change(admin: Client, what: str) -> None:
    other = {"params": {"fieldManager": "somebody"}, "content_type": "application/merge-patch+json"}
    service, role = kinds.SERVICE.path(NAMESPACE, "app"), kinds.ROLE.path(NAMESPACE, "postgres")
    match what:
        case "a field":
            body: dict[str, Any] = {"spec": {"selector": {labels.TENANT: "globex"}}}
            await admin.write("PATCH", service, body=body, **other)
        case "a label":
            await admin.write("PATCH", service, body={"metadata": {"labels": {labels.PART_OF: None}}}, **other)
        case "the label by which it is followed":
            await admin.write("PATCH", service, body={"metadata": {"labels": {labels.MANAGED_BY: "me"}}}, **other)
        case "the hash":
            body = {"metadata": {"annotations": {labels.APPLIED_HASH: "0"}}}
            await admin.write("PATCH", service, body=body, **other)
        case "all":
            await admin.delete(kinds.ROLE, "postgres", NAMESPACE)
        case "the rules":
            await admin.write("PATCH", role, body={"rules": []}, **other)
        case "the namespace":
            path = kinds.NAMESPACE.path(name=NAMESPACE)
            body = {"metadata": {"labels": {f"{labels.POD_SECURITY}/enforce": "privileged"}}}
            await admin.write("PATCH", path, body=body, **other)


@pytest.mark.parametrize(
    "what",
    ["a field", "a label", "the label by which it is followed", "the hash", "all", "the rules", "the namespace"],
)
async def test_what_somebody_changes_is_set_back(world: World, at_rest: Any, what: str) -> None:
    watched = [(kinds.SERVICE, "app"), (kinds.ROLE, "postgres")]

    async def content() -> list[Any]:
        found = [await world.admin.get(kind, name, NAMESPACE) or {"metadata": {}} for kind, name in watched]
        found.append(await world.admin.get(kinds.NAMESPACE, NAMESPACE) or {"metadata": {}})
        noise = ("resourceVersion", "managedFields", "uid", "creationTimestamp", "generation")
        return [
            {**item, "metadata": {key: value for key, value in item["metadata"].items() if key not in noise}}
            for item in found
        ]

    before = await content()
    await _change(world.admin, what)
    assert await content() != before

    async def set_back() -> bool:
        return await content() == before

    await wait_until(set_back)


async def test_what_is_no_longer_wanted_goes_though_it_was_not_read(world: World, at_rest: Any) -> None:
    extra = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "extra", "namespace": NAMESPACE, "labels": labels.owned("app", tenant="acme")},
        "spec": {"ports": [{"port": 80}]},
    }
    await world.admin.create(extra)

    async def gone() -> bool:
        return await world.admin.get(kinds.SERVICE, "extra", NAMESPACE) is None

    await wait_until(gone)
