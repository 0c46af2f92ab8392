"""Tenant acme in its states, and what is there of it."""

from __future__ import annotations

import json

import yaml
from api.world import World, tenant

from okitoki.kube import names
from okitoki.kube import resources as kinds
from okitoki.kube.resources import Manifest

NAMESPACE = names.tenant_namespace("acme")


async def running(world: World, **spec: object) -> str:
    """Tenant acme with volumes, pods and Patroni's store; its uid."""
    made = await world.admin.create(tenant("acme", **spec))
    await world.reconcile("acme")
    await world.make_claims("acme")
    settings = await world.admin.get(kinds.CONFIG_MAP, "postgres-settings", NAMESPACE)
    assert settings is not None
    dynamic = yaml.safe_load(settings["data"]["patroni.yaml"])["bootstrap"]["dcs"]
    await world.patroni_store("acme", "config", {"config": json.dumps(dynamic), "initialize": "7431"})
    await world.make_pods("acme")
    return str(made["metadata"]["uid"])


async def delete(world: World, passes: int = 8) -> None:
    """Delete acme and play the controllers until it is gone."""
    await world.admin.delete(kinds.TENANT, "acme")
    for _ in range(passes):
        await world.reconcile("acme")
        await world.end_pods("acme")
    assert await world.admin.get(kinds.TENANT, "acme") is None


async def there(world: World, kind: kinds.ResourceType) -> set[str]:
    return {item["metadata"]["name"] for item in await world.admin.list(kind, NAMESPACE)}


async def password(world: World) -> str:
    found = await world.admin.get(kinds.SECRET, names.POSTGRES_CREDENTIALS, NAMESPACE)
    assert found is not None
    return str(found["data"]["superuser-password"])


async def namespace(world: World) -> Manifest:
    found = await world.admin.get(kinds.NAMESPACE, NAMESPACE)
    assert found is not None
    return found


async def replicas(world: World, kind: kinds.ResourceType, name: str) -> int:
    found = await world.admin.get(kind, name, NAMESPACE)
    assert found is not None
    return int(found["spec"].get("replicas", 0))


async def dying(world: World) -> int:
    """See `World.dying`; pods end meanwhile."""
    return await world.dying("acme", between=lambda: world.end_pods("acme"))
