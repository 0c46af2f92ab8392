"""Series of the platform: they come and go with their objects."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from okitoki.metrics.domain import FAMILIES, Series

ACME, KYIV = ("Tenant", "acme"), ("VoiceRegion", "kyiv")


def lines(series: Series) -> list[str]:
    registry = CollectorRegistry()
    registry.register(series)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_an_object_has_its_values_and_counters_from_nought() -> None:
    series = Series()
    series.put(ACME, {"okitoki_tenant_ready": 1.0})
    series.put(KYIV, {"okitoki_region_address_holders": {"sip": 1.0, "https": 0.0}})
    assert lines(series) == [
        'okitoki_tenant_ready{tenant="acme"} 1.0',
        'okitoki_tenant_database_failovers_total{tenant="acme"} 0.0',
        'okitoki_tenant_database_members_rebuilt_total{tenant="acme"} 0.0',
        'okitoki_region_address_holders{address="sip",region="kyiv"} 1.0',
        'okitoki_region_address_holders{address="https",region="kyiv"} 0.0',
        'okitoki_region_address_moves_total{region="kyiv"} 0.0',
    ]


def test_counters_go_on_while_values_are_replaced() -> None:
    series = Series()
    series.count(ACME, "okitoki_tenant_database_failovers_total")
    series.put(ACME, {"okitoki_tenant_ready": 0.0})
    series.put(ACME, {"okitoki_tenant_stalled": 1.0})
    found = lines(series)
    assert 'okitoki_tenant_database_failovers_total{tenant="acme"} 1.0' in found
    assert 'okitoki_tenant_stalled{tenant="acme"} 1.0' in found
    assert not [line for line in found if line.startswith("okitoki_tenant_ready")]


def test_an_object_that_is_gone_takes_all_its_series_with_it() -> None:
    series = Series()
    for owner, name in ((ACME, "okitoki_tenant_ready"), (KYIV, "okitoki_region_ready")):
        series.put(owner, {name: 1.0})
    series.drop(ACME)
    assert lines(series)
    assert not [line for line in lines(series) if "acme" in line]
    series.drop(KYIV)
    series.drop(KYIV)
    assert lines(series) == []


def test_a_name_of_another_kind_is_refused() -> None:
    with pytest.raises(KeyError, match="Tenant has no metric okitoki_region_ready"):
        Series().put(ACME, {"okitoki_region_ready": 1.0})


def test_counters_are_named_as_counters_and_nothing_else_is() -> None:
    assert {name for name in FAMILIES if name.endswith("_total")} == {n for n, f in FAMILIES.items() if f.counter}
