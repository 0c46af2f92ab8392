from __future__ import annotations

import pytest

from okitoki_load.__main__ import Config
from okitoki_local.demo.layout import (
    AGENTS_PER_TENANT,
    Addresses,
    existing_addresses,
    first_free,
    load_manifests,
    place,
    region_of,
    tenants_of,
)
from okitoki_local.demo.traffic import FORWARD_TO, LONG_CALLS, agents_config, api_config, carrier_config, writer_config
from okitoki_local.system import LocalClusterError
from okitoki_phones.config import AgentsConfig, CarrierConfig

ADDRESSES = Addresses("10.0.0.1", "10.0.0.4", ("10.0.0.2", "10.0.0.3"), "10.0.0.9", tuple("abcd"))


def test_the_examples_are_one_region_and_two_tenants_that_can_be_told_apart() -> None:
    objects = load_manifests()
    assert [obj["kind"] for obj in objects] == ["VoiceRegion", "Tenant", "Tenant"]
    tenants = tenants_of(objects)
    assert len({tenant.number for tenant in tenants}) == 2
    assert [tenant.host for tenant in tenants] == ["acme.kyiv.okitoki.test", "globex.kyiv.okitoki.test"]


def test_only_the_examples_addresses_are_replaced() -> None:
    objects = load_manifests()
    placed = place(objects, ADDRESSES)
    before, after = region_of(objects)["spec"], region_of(placed)["spec"]
    assert after["addresses"] == {"sip": "10.0.0.1", "https": "10.0.0.4", "media": ["10.0.0.2", "10.0.0.3"]}
    assert after["carriers"] == [{"name": "main", "hosts": ["10.0.0.9"]}]
    assert {**after, "addresses": None, "carriers": None} == {**before, "addresses": None, "carriers": None}
    assert placed[1:] == objects[1:]
    assert before["addresses"]["sip"] != "10.0.0.1"


def test_a_region_that_is_there_keeps_its_addresses() -> None:
    region = region_of(place(load_manifests(), ADDRESSES))
    assert existing_addresses(region, ADDRESSES.clients) == ADDRESSES


def test_free_addresses_are_taken_in_order_and_too_few_are_an_error() -> None:
    assert first_free(["a", "b", "c", "d"], 2, lambda address: address != "a") == ["b", "c"]
    with pytest.raises(LocalClusterError, match="only 1 of 2 addresses are free"):
        first_free(["a", "b"], 2, lambda address: address == "a")


def test_the_configurations_are_what_the_phones_and_writers_accept(tmp_path: object) -> None:
    tenants = tenants_of(load_manifests())
    secrets = {tenant.name: {agent: f"{tenant.name}{agent}" for agent in tenant.agents} for tenant in tenants}
    agents = AgentsConfig.read(agents_config(ADDRESSES, tenants, secrets, 7))
    assert len(agents.agents) == 2 * AGENTS_PER_TENANT
    assert (agents.agents[0].secret, agents.agents[0].domain) == ("acme1001", "acme.kyiv.okitoki.test")
    carrier = CarrierConfig.read(carrier_config(ADDRESSES, tenants, 7))
    assert carrier.address == ("10.0.0.9", 5060)
    drilled = CarrierConfig.read(carrier_config(ADDRESSES, tenants, 7, forwards=True))
    assert (drilled.forward_to, drilled.landlines) == (FORWARD_TO, tuple(sorted({FORWARD_TO, "+380447654321"})))
    # Enough agents that the long calls and the short ones beside them find one each.
    busiest = LONG_CALLS + carrier.short[0].talk[1] / carrier.short[0].every + 1
    assert busiest < AGENTS_PER_TENANT
    assert set(writer_config(ADDRESSES, tenants[0], "k", "run", 7)) <= set(Config.__dataclass_fields__)
    assert api_config(ADDRESSES, tenants[0], "k")["address"] == "10.0.0.4"
