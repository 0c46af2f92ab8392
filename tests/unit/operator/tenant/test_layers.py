"""Which layer of taking calls is armed, and why not."""

from __future__ import annotations

from typing import Any

import pytest
from unit.operator.factory import a_tenant, what_is_observed

from okitoki.reconcile.conditions import summary
from okitoki.tenant.facts import RegionFacts
from okitoki.tenant.layers import layers
from okitoki.tenant.observe import dead_trunks

NUMBERS = [
    {"number": "+380441234567", "queue": "sales"},
    {"number": "+380441234568", "queue": "sales", "landlines": ["+380441110000"]},
]
LANDLINES = {"landlines": ["+380447654321"]}


@pytest.mark.parametrize(
    ("spec", "observed", "reason", "named"),
    [
        ({}, {}, "NoLandline", "spec.backup.landlines"),
        ({"numbers": NUMBERS}, {}, "NumbersWithoutLandline", "+380441234567 would"),
        ({"backup": LANDLINES}, {"published": frozenset()}, "NotPublished", "kyiv"),
        ({"backup": LANDLINES, "state": "Suspended"}, {}, "NotServed", "spec.state is Suspended"),
        ({"backup": LANDLINES, "numbers": NUMBERS}, {}, "Armed", "2 numbers"),
        (
            {"backup": LANDLINES},
            {"regions": (RegionFacts("kyiv", "kyiv.okitoki.test", dead_trunks=("198.18.1.150 Silent since X",)),)},
            "NoTrunkAnswers",
            "no trunk answers in kyiv: 198.18.1.150 Silent since X; landlines cannot be called",
        ),
        ({"backup": LANDLINES, "state": "Restricted"}, {}, "Armed", "at every call"),
        ({"numbers": NUMBERS, "state": "Restricted"}, {}, "RestrictedWithoutLandline", "to +380441234567 gets 480"),
    ],
)
def test_layer_1(spec: dict[str, Any], observed: dict[str, Any], reason: str, named: str) -> None:
    tenant = a_tenant(**spec)
    found = layers(tenant, what_is_observed(tenant, **({"published": frozenset({"kyiv"})} | observed)))[0]
    assert (found.type, found.reason) == ("LandlineArmed", reason)
    assert found.status == ("True" if reason == "Armed" else "False")
    assert named in found.message


@pytest.mark.parametrize(("ordered", "status", "reason"), [(False, "False", "NotOrdered"), (True, "True", "Declared")])
def test_layer_2_is_what_the_spec_says_of_the_carrier(ordered: bool, status: str, reason: str) -> None:
    tenant = a_tenant(backup={"carrierForwarding": ordered})
    found = layers(tenant, what_is_observed(tenant))[1]
    assert (found.type, found.status, found.reason) == ("CarrierForwardingArmed", status, reason)


def test_a_tenant_without_either_layer_is_ready_all_the_same() -> None:
    tenant = a_tenant()
    assert summary(layers(tenant, what_is_observed(tenant))).status == "True"


def test_a_region_whose_trunks_are_not_all_dead_can_call_landlines() -> None:
    silent = {"host": "198.18.1.150", "carrier": "main", "state": "Silent", "since": "2026-11-29T08:00:00Z"}
    refuses, unproven = {**silent, "host": "198.18.1.151", "state": "Refuses"}, {**silent, "state": "Unproven"}
    assert dead_trunks({"status": {"trunks": [silent, refuses]}}) == (
        "198.18.1.150 Silent since 2026-11-29T08:00:00Z",
        "198.18.1.151 Refuses since 2026-11-29T08:00:00Z",
    )
    assert dead_trunks({"status": {"trunks": [silent, unproven]}}) == ()
    assert dead_trunks({"status": {}}) == dead_trunks({}) == ()
