"""Which layer of taking calls is armed, and why not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.factory import KYIV, a_tenant, what_is_observed

from okitoki.kube.edge_report import LandlineMode, Mode
from okitoki.metrics.domain import Series
from okitoki.reconcile.conditions import summary
from okitoki.tenant.facts import RegionFacts
from okitoki.tenant.layers import backup_status, layer_news, layers
from okitoki.tenant.measures import measures
from okitoki.tenant.observe import dead_trunks, landline_mode

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


SINCE = 1_800_000_000
TIME, LATER = "2027-01-15T08:00:00Z", "2027-01-15T08:01:00Z"


def away(mode: Mode = "Landlines", since: int = SINCE, reason: str = "PhonesSilent", switches: int = 1) -> LandlineMode:
    return LandlineMode(mode, since, reason, switches)


def status_with(mode: LandlineMode | None, before: dict[str, Any] | None = None) -> dict[str, Any]:
    tenant = a_tenant(backup={**LANDLINES, "carrierForwarding": True})
    observed = what_is_observed(tenant, regions=(replace(KYIV, landlines=mode),))
    return {"backup": backup_status(tenant, observed, before or {})}


def test_the_status_says_which_layer_is_armed_and_which_is_active() -> None:
    assert status_with(None)["backup"] == {"armed": ["Landlines", "CarrierForwarding"], "landlines": None}
    active = {"region": "kyiv", "mode": "Landlines", "since": TIME, "reason": "PhonesSilent", "switches": 1}
    assert status_with(away())["backup"]["landlines"] == [active]


def test_what_an_edge_said_last_is_kept_while_it_says_nothing() -> None:
    before = status_with(away())
    assert status_with(None, before) == before
    gone = a_tenant(regions=["lviv"], backup=LANDLINES)
    assert backup_status(gone, what_is_observed(gone, regions=()), before)["landlines"] is None


def test_layer_1_is_a_condition_while_it_is_active() -> None:
    observed = what_is_observed(regions=(replace(KYIV, landlines=away()),))
    found = layers(a_tenant(), observed)[-1]
    assert (found.type, found.status, found.reason) == ("LandlinesActive", "True", "PhonesSilent")
    assert found.message.startswith(
        f"calls in region kyiv go to landlines since {TIME}: the phones that are registered"
    )
    assert summary([found]).status == "True"
    for mode in (None, away("Agents")):
        observed = what_is_observed(regions=(replace(KYIV, landlines=mode),))
        assert "LandlinesActive" not in [condition.type for condition in layers(a_tenant(), observed)]


def test_each_switch_is_told_once() -> None:
    there, back = status_with(away()), status_with(away("Agents", SINCE + 60, "PhoneAnswers"))
    [told] = layer_news(status_with(None), there)
    assert (told.reason, told.warning) == ("LandlinesActive", True)
    assert (
        told.message
        == f"calls in region kyiv go to landlines since {TIME}: the phones that are registered do not say a word"
    )
    [told] = layer_news(there, back)
    assert (told.reason, told.warning) == ("AgentsActive", False)
    assert told.message == f"calls in region kyiv go to agents again since {LATER}: a phone answers"
    assert not layer_news(there, there)
    assert not layer_news(back, back)
    assert not layer_news(there, {})


def test_switches_that_came_between_two_looks_are_counted() -> None:
    there, again = status_with(away()), status_with(away(since=SINCE + 60, switches=3))
    assert [told.message.rpartition(", ")[2] for told in layer_news(there, again)] == [
        "after 2 switches to landlines since the last word"
    ]
    there_and_back = status_with(away("Agents", SINCE + 60, "PhoneAnswers", 2))
    assert [told.reason for told in layer_news({}, there_and_back)] == ["AgentsActive"]


def test_the_metric_says_where_calls_go() -> None:
    told = measures(a_tenant(), what_is_observed(regions=(replace(KYIV, landlines=away()),)))
    assert told["okitoki_tenant_landlines_active"] == {"kyiv": 1.0}
    assert measures(a_tenant(), what_is_observed())["okitoki_tenant_landlines_active"] == {}
    Series().put(("Tenant", "acme"), told)


def edge_pod(landlines: Any) -> dict[str, Any]:
    status = json.dumps({"landlines": landlines})
    return {"metadata": {"name": "edge-0", "annotations": {"platform.oki-toki.net/edge-status": status}}}


def test_the_latest_word_of_a_regions_edge_counts() -> None:
    old = {"acme": {"mode": "landlines", "since": SINCE, "why": "no-routes", "switches": 1}}
    new = {"acme": {"mode": "agents", "since": SINCE + 5, "why": "phone-answers", "switches": 1}}
    assert landline_mode([edge_pod(new), edge_pod(old)], "acme") == away("Agents", SINCE + 5, "PhoneAnswers")
    assert landline_mode([edge_pod(old), edge_pod({})], "acme") == away(reason="NoRoutes")
    assert landline_mode([edge_pod(old)], "globex") is None
    assert landline_mode([edge_pod({"acme": {"mode": "away"}}), edge_pod([]), {"metadata": {}}], "acme") is None
