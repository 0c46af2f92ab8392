"""Which layer of taking calls is armed, and why not."""

from __future__ import annotations

from typing import Any

import pytest
from unit.operator.factory import a_tenant, what_is_observed

from okitoki.reconcile.conditions import summary
from okitoki.tenant.layers import layers

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
