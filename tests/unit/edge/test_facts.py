"""region.json and the environment: what is taken, and what is refused with the field's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.edge.support import ENVIRONMENT, region

from okitoki_agents.edge.facts import FactsError, load, parse_region


def test_a_region_as_the_operator_writes_it() -> None:
    parsed = parse_region(region())
    assert [(a.name, a.ip, a.router_id, a.service) for a in parsed.addresses] == [
        ("sip", "198.18.16.200", 51, "kamailio"),
        ("https", "198.18.16.203", 52, "haproxy"),
        ("media-1", "198.18.16.201", 53, "rtpengine-1"),
        ("media-2", "198.18.16.202", 54, "rtpengine-2"),
    ]
    assert parsed.ports.ng == (2223, 2224)
    assert parsed.carriers[0].hosts == ("198.18.16.150", "198.18.16.151")
    assert parsed.carriers[0].probe_seconds == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"addresses": {"sip": "198.18.16.200", "https": "198.18.16.203", "media": ["198.18.16.201"]}},
            "addresses.media",
        ),
        ({"addresses": {"sip": "kyiv", "https": "198.18.16.203", "media": ["1.1.1.1", "1.1.1.2"]}}, "addresses.sip"),
        ({"aliases": {"media": ["198.18.255.1", "198.18.255.2"], "peer": "198.18.16.200"}}, "must all be different"),
        ({"mediaPorts": {"from": 30000, "to": 30000}}, "mediaPorts"),
        ({"mediaPorts": {"from": 30000, "to": 70000}}, "mediaPorts.to"),
        ({"vrrp": {"routerIds": {"sip": 51, "https": 52, "media": [53, 54]}}}, "vrrp.advertIntervalMilliseconds"),
        (
            {"vrrp": {"advertIntervalMilliseconds": 100, "routerIds": {"sip": 51, "https": 52, "media": [53, 256]}}},
            "vrrp.routerIds.media",
        ),
        ({"carriers": [{"name": "main", "hosts": ["sip.carrier.test"], "probeSeconds": 5}]}, r"carriers\[0\].hosts"),
        ({"carriers": [{"name": "main", "hosts": ["198.18.16.150"], "probeSeconds": -1}]}, "probeSeconds: -1 must be"),
    ],
)
def test_a_bad_region_names_its_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(FactsError, match=named):
        parse_region(region(**changes))


def test_a_missing_field_is_named() -> None:
    document = region()
    del document["ports"]["dmq"]
    with pytest.raises(FactsError, match=r"ports\.dmq: missing"):
        parse_region(document)


def test_load(tmp_path: Path) -> None:
    file = tmp_path / "region.json"
    file.write_text(json.dumps(region()))
    loaded = load(ENVIRONMENT, file)
    assert loaded.ordinal == 0
    assert ENVIRONMENT["REDIS_PASSWORD"] not in repr(loaded)
    assert ENVIRONMENT["NONCE_SECRET"] not in repr(loaded)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_IP", ""),
        ("NODE_IP", "node"),
        ("POD_NAME", "edge"),
        ("REDIS_PASSWORD", "short"),
        ("NONCE_SECRET", "a" * 20 + '"'),
    ],
)
def test_a_bad_environment_names_the_variable_and_not_the_secret(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "region.json"
    file.write_text(json.dumps(region()))
    with pytest.raises(FactsError, match=f"^{name}: ") as caught:
        load(ENVIRONMENT | {name: value}, file)
    if name in ("REDIS_PASSWORD", "NONCE_SECRET"):
        assert value not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match="ConfigMap edge-region"):
        load(ENVIRONMENT, tmp_path / "region.json")


@pytest.mark.parametrize("value", [0, -1, "5", True])
def test_a_limit_of_calls_is_a_positive_number(value: object) -> None:
    assert parse_region(region(maxCalls=40)).max_calls == 40
    assert parse_region(region()).max_calls is None
    with pytest.raises(FactsError, match="maxCalls"):
        parse_region(region(maxCalls=value))
