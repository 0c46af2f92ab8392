from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from okitoki_locust.options import OptionError, Options, read_secrets

HOST = "https://acme.kyiv.okitoki.test"


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "key").write_text("otk_secret\n")
    (tmp_path / "ca.crt").write_text("")
    return {
        "api_key_file": str(tmp_path / "key"), "ca_file": str(tmp_path / "ca.crt"), "address": "198.18.0.2",
        "numbers": "+380441234567, +380441234568", "ledger": str(tmp_path), "seed": 3, "rate": 5.0, "deadline": 12.0,
        "requests_at_once": 8, "patience": 60.0, "sip": "", "phone_address": "", "trunk": "", "caller": "+380500000000",
        "agents_file": "", "agents": 0, "call_every": 5.0, "talk": "3:8",
    }  # fmt: skip


def read(given: dict[str, Any], host: str = HOST, **changes: Any) -> Options:
    return Options.read(Namespace(**{**given, **changes}), host)


def test_tenant_and_region_follow_from_the_host_and_the_address_is_apart(given: dict[str, Any]) -> None:
    target = read(given).target
    assert (target.tenant, target.region, target.host) == ("acme", "kyiv.okitoki.test", "acme.kyiv.okitoki.test")
    assert (target.address, target.port, target.key()) == ("198.18.0.2", 443, "otk_secret")
    assert read(given, address="").target.address == "acme.kyiv.okitoki.test"
    assert read(given, host=f"{HOST}:8443").target.port == 8443
    assert read(given).numbers == ("+380441234567", "+380441234568")


def test_phones_are_there_only_with_a_sip_address(given: dict[str, Any]) -> None:
    assert read(given).phones is None
    phones = read(given, sip="198.18.0.1", trunk="198.18.0.5:5080", agents_file="secrets.json").phones
    assert phones is not None
    assert (phones.server, phones.trunk, phones.address) == (("198.18.0.1", 5060), ("198.18.0.5", 5080), "198.18.0.5")
    assert phones.talk == (3.0, 8.0)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"host": ""}, "--host"),
        ({"host": "https://localhost"}, "--host"),
        ({"api_key_file": ""}, "--api-key-file"),
        ({"ca_file": "/nonexistent/ca.crt"}, "--ca-file"),
        ({"numbers": ""}, "--numbers"),
        ({"deadline": 0}, "--deadline"),
        ({"requests_at_once": -1}, "--requests-at-once"),
        ({"sip": "198.18.0.1"}, "--phone-address"),
        ({"sip": "198.18.0.1:sip", "trunk": "198.18.0.5"}, "--sip"),
        ({"sip": "198.18.0.1", "trunk": "198.18.0.5", "talk": "8:3"}, "--talk"),
        ({"sip": "198.18.0.1", "trunk": "198.18.0.5", "talk": "long"}, "--talk"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], changes: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError, match=option):
        read(given, **changes)


def test_secrets_are_a_table_of_texts() -> None:
    assert read_secrets('{"1001": "s"}') == {"1001": "s"}
    for text in ("[]", '{"1001": 5}', "{"):
        with pytest.raises(OptionError, match="--agents-file"):
            read_secrets(text)
