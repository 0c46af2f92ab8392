"""Every subnet that Docker may choose is divided without overlap."""

import ipaddress
from pathlib import Path

import pytest

from okitoki_local.environment import Environment
from okitoki_local.network import REGION_COUNT, bridge_name, creation_arguments, plan
from okitoki_local.system import LocalClusterError

SUBNETS = ["198.18.1.0/24", "172.18.0.0/16", "192.168.224.0/20", "10.9.8.128/25"]
ENV = Environment("demo", True, Path("/state/demo"), Path("/cache"))


@pytest.mark.parametrize("subnet", SUBNETS)
def test_named_addresses_are_outside_of_what_docker_hands_out(subnet: str) -> None:
    divided = plan(subnet)
    handed_out = ipaddress.IPv4Network(divided.ip_range)
    named = [ipaddress.IPv4Address(address) for address in (*divided.regions, *divided.clients)]
    assert not [address for address in named if address in handed_out]
    assert all(address in ipaddress.IPv4Network(subnet) for address in named)


@pytest.mark.parametrize("subnet", SUBNETS)
def test_regions_and_clients_never_share_an_address(subnet: str) -> None:
    divided = plan(subnet)
    assert len(set(divided.regions)) == REGION_COUNT
    assert not set(divided.regions) & set(divided.clients)
    assert len(divided.clients) >= 10


@pytest.mark.parametrize("subnet", SUBNETS)
def test_network_and_broadcast_addresses_are_nobodys(subnet: str) -> None:
    whole = ipaddress.IPv4Network(subnet)
    divided = plan(subnet)
    unusable = {str(whole.network_address), str(whole.broadcast_address)}
    assert not unusable & {*divided.regions, *divided.clients}


def test_a_subnet_that_is_too_small_is_refused_with_what_is_needed() -> None:
    with pytest.raises(LocalClusterError, match="at least a /25"):
        plan("10.0.0.0/28")


def test_network_is_created_with_every_region_address_reserved_by_name() -> None:
    divided = plan("198.18.1.0/24")
    arguments = creation_arguments(ENV, divided, "198.18.1.1")
    assert f"--aux-address=region-0={divided.regions[0]}" in arguments
    assert f"--aux-address=region-15={divided.regions[15]}" in arguments
    assert "--ip-range=198.18.1.0/25" in arguments
    assert arguments[-1] == "okitoki-demo"


def test_bridge_name_fits_an_interface_name() -> None:
    long = Environment("a" * 20, True, Path("/state"), Path("/cache"))
    assert len(bridge_name(long)) <= 15
    assert bridge_name(long) != bridge_name(ENV)
