"""The CRDs on a real API server: structural, defaults, and every rule with the message a user reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from api.world import region, tenant

from okitoki.api.crds import all_crds
from okitoki.kube import resources as kinds
from okitoki.kube.client import ApiError, Client
from okitoki.kube.resources import CUSTOM_RESOURCE_DEFINITION, Manifest


@pytest.fixture(autouse=True)
async def clean(client: Client) -> AsyncIterator[None]:
    """Nothing is left behind."""
    yield
    for kind in (kinds.TENANT, kinds.VOICE_REGION):
        for item in await client.list(kind):
            await client.delete(kind, item["metadata"]["name"])


async def test_the_schemas_are_structural_and_every_rule_compiled(client: Client) -> None:
    for item in all_crds().values():
        found = await client.get(CUSTOM_RESOURCE_DEFINITION, item["metadata"]["name"])
        assert found is not None
        states = {c["type"]: c["status"] for c in found["status"]["conditions"]}
        assert states["Established"] == "True"
        assert states.get("NonStructuralSchema", "False") == "False"


async def test_defaults_are_filled_in_by_the_api_server(client: Client) -> None:
    made = await client.create(tenant("acme"))
    assert made["spec"]["app"] == {"replicas": 2}
    assert made["spec"]["backup"] == {"landlines": [], "carrierForwarding": False}
    assert made["spec"]["database"] == {"instances": 3, "storage": {"size": "1Gi"}, "rebuildAfterSeconds": 600}
    half = await client.create(tenant("half", database={"storage": {}}))
    assert half["spec"]["database"] == {"instances": 3, "storage": {"size": "1Gi"}, "rebuildAfterSeconds": 600}
    kyiv = await client.create(region())
    assert kyiv["spec"]["failover"] == {"advertInterval": "100ms"}


async def test_an_unknown_field_is_refused_under_strict_validation(client: Client) -> None:
    # As kubectl asks for it.
    with pytest.raises(ApiError, match=r'unknown field "spec.colour"'):
        await client.request(
            "POST", kinds.TENANT.path(), body=tenant("acme", colour="red"), params={"fieldValidation": "Strict"}
        )


NUMBER = {"number": "+380441234567", "queue": "sales"}
OTHER = "+380447654321"


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (tenant("a" * 41), "metadata.name of a Tenant must be at most 40 characters"),
        (tenant("a.b"), "metadata.name of a Tenant must be a DNS label"),
        (tenant("acme", displayName=""), "spec.displayName"),
        (tenant("acme", regions=[]), "spec.regions"),
        (tenant("acme", regions=["kyiv", "kyiv"]), "spec.regions must not name a VoiceRegion twice"),
        (tenant("acme", regions=["Kyiv"]), r"spec.regions\[0\].*must be lower-case letters, digits and -"),
        (tenant("acme", numbers=[{"number": "0441234567", "queue": "sales"}]), "must be in E.164 form"),
        (tenant("acme", numbers=[{"number": "+3804412345678901", "queue": "sales"}]), "spec.numbers"),
        (tenant("acme", numbers=[NUMBER, NUMBER]), r"spec.numbers\[1\]: Duplicate value"),
        (tenant("acme", numbers=[{**NUMBER, "queue": "Sales!"}]), r"spec.numbers\[0\].queue.*lower-case"),
        (tenant("acme", backup={"landlines": ["7654321"]}), r"spec.backup.landlines\[0\].*must be in E.164 form"),
        (tenant("acme", backup={"landlines": [OTHER, OTHER]}), "landlines must not name a number twice"),
        (tenant("acme", backup={"landlines": [f"+38044765432{n}" for n in range(5)]}), "spec.backup.landlines"),
        (
            tenant("acme", numbers=[NUMBER], backup={"landlines": [NUMBER["number"]]}),
            "must not name one of spec.numbers.*name a telephone elsewhere",
        ),
        (
            tenant("acme", numbers=[{**NUMBER, "landlines": [NUMBER["number"]]}]),
            "must not name one of spec.numbers.*name a telephone elsewhere",
        ),
        (tenant("acme", app={"replicas": 0}), "spec.app.replicas"),
        (tenant("acme", database={"instances": 2}), "spec.database.instances"),
        (tenant("acme", database={"rebuildAfterSeconds": 30}), "spec.database.rebuildAfterSeconds"),
        (tenant("acme", database={"instances": 6}), "spec.database.instances"),
        (tenant("acme", database={"storage": {"size": "1G"}}), "must be a whole number of Mi, Gi or Ti and at least"),
        (tenant("acme", database={"storage": {"size": "10Mi"}}), "at least 256Mi"),
        (region(domain="Kyiv"), "spec.domain must be a DNS domain in lower case"),
        (region(nodeSelector={}), "spec.nodeSelector"),
        (region(carriers=[]), "spec.carriers"),
        (region(carriers=[{"name": "main", "hosts": []}]), r"spec.carriers\[0\].hosts"),
        (region(carriers=[{"name": "main", "hosts": ["198.18.1.999"]}]), "must be an IPv4 address such as"),
        (region(failover={"advertInterval": "1s"}), "whole milliseconds from 20ms to 1000ms"),
        (region(failover={"advertInterval": "10ms"}), "whole milliseconds from 20ms to 1000ms"),
        (region(media={"portRange": {"from": 30001, "to": 31999}}), "spec.media.portRange.from must be even"),
        (region(media={"portRange": {"from": 30000, "to": 31998}}), "spec.media.portRange.to must be odd"),
        (region(media={"portRange": {"from": 30000, "to": 30009}}), "must hold at least 100 ports"),
        (region(media={"portRange": {"from": 30000, "to": 30999}, "maxCalls": 251}), "lower it or widen"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_field_and_the_mend(
    client: Client, manifest: Manifest, message: str
) -> None:
    with pytest.raises(ApiError, match=message) as caught:
        await client.create(manifest)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "addresses",
    [
        {"sip": "198.18.1.1", "https": "198.18.1.1", "media": ["198.18.1.2", "198.18.1.3"]},
        {"sip": "198.18.1.1", "https": "198.18.1.2", "media": ["198.18.1.3", "198.18.1.3"]},
        {"sip": "198.18.1.1", "https": "198.18.1.2", "media": ["198.18.1.1", "198.18.1.3"]},
        {"sip": "198.18.1.1", "https": "198.18.1.2", "media": ["198.18.1.3", "198.18.1.2"]},
    ],
)
async def test_a_regions_addresses_must_be_four_different_ones(client: Client, addresses: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="must be four different addresses"):
        await client.create(region(addresses=addresses))


async def test_storage_never_shrinks_below_the_volumes_and_a_growth_can_be_taken_back(client: Client) -> None:
    await client.create(tenant("acme", database={"storage": {"size": "2Gi"}}))
    status = {"status": {"database": {"storage": "2Gi"}}}
    await client.merge_patch(kinds.TENANT, "acme", status, subresource="status")

    async def resize(size: str) -> None:
        await client.merge_patch(kinds.TENANT, "acme", {"spec": {"database": {"storage": {"size": size}}}})

    with pytest.raises(ApiError, match=r"cannot be less than status\.database\.storage: volumes only grow"):
        await resize("1024Mi")
    await resize("3072Mi")
    await resize("2048Mi")


async def test_a_regions_domain_cannot_change(client: Client) -> None:
    await client.create(region())
    with pytest.raises(ApiError, match=r"spec\.domain cannot be changed"):
        await client.merge_patch(kinds.VOICE_REGION, "kyiv", {"spec": {"domain": "lviv.okitoki.test"}})
    await client.merge_patch(kinds.VOICE_REGION, "kyiv", {"spec": {"failover": {"advertInterval": "200ms"}}})
