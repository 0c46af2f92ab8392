"""The cluster's Docker network, and who gets which of its addresses.

Nodes and containers get theirs from the lower half. The upper half is for addresses that people and manifests name:
a few are reserved for VoiceRegions (Docker never hands those out), the rest are for carriers and phones.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from okitoki_local.environment import Environment
from okitoki_local.system import LocalClusterError

REGION_COUNT = 16
CLIENT_COUNT = 64
SMALLEST_SUBNET = 25


@dataclass(frozen=True)
class Plan:
    """How a subnet is divided."""

    subnet: str
    ip_range: str
    regions: tuple[str, ...]
    clients: tuple[str, ...]


def plan(subnet_text: str) -> Plan:
    """Divide whatever subnet Docker has chosen."""
    whole = ipaddress.IPv4Network(subnet_text)
    if whole.prefixlen > SMALLEST_SUBNET:
        raise LocalClusterError(f"the Docker network {whole} is too small: it needs at least a /{SMALLEST_SUBNET}")
    lower, upper = whole.subnets(prefixlen_diff=1)
    middle = upper.num_addresses // 2
    regions = tuple(str(upper[middle + offset]) for offset in range(REGION_COUNT))
    # The first of the upper half looks like its network address to tools that guess; the last is the broadcast address.
    candidates = (str(upper[offset]) for offset in range(1, min(upper.num_addresses - 1, 4 * CLIENT_COUNT)))
    clients = [address for address in candidates if address not in regions]
    return Plan(str(whole), str(lower), regions, tuple(clients[:CLIENT_COUNT]))


def creation_arguments(env: Environment, divided: Plan, gateway: str) -> list[str]:
    """Arguments of `docker network create` for a divided subnet."""
    reserved = [f"--aux-address=region-{number}={address}" for number, address in enumerate(divided.regions)]
    return [
        *("network", "create", "--driver=bridge", f"--label=okitoki.cluster={env.name}"),
        *(f"--subnet={divided.subnet}", f"--gateway={gateway}", f"--ip-range={divided.ip_range}", *reserved),
        f"--opt=com.docker.network.bridge.name={bridge_name(env)}",
        env.docker_network,
    ]


def bridge_name(env: Environment) -> str:
    """The bridge's interface; Linux allows 15 characters."""
    return f"oki-{hashlib.sha256(env.name.encode()).hexdigest()[:8]}"


def ensure(env: Environment) -> None:
    """Make the network: let Docker choose a free subnet, then take that one with the reservations in it."""
    existing = _inspect(env)
    if existing is not None and region_addresses(env):
        return
    if existing is not None:
        # An earlier run ended between the two steps.
        remove(env)
    env.docker("network", "create", "--driver=bridge", env.docker_network)
    chosen = _configuration(env)
    env.docker("network", "rm", env.docker_network)
    env.docker(*creation_arguments(env, plan(chosen["Subnet"]), chosen["Gateway"]))


def remove(env: Environment) -> None:
    """Remove the network if it is there."""
    env.docker("network", "rm", env.docker_network, check=False)


def subnet(env: Environment | None = None) -> str:
    """The network's subnet, such as 198.18.1.0/24."""
    return str(_configuration(env or Environment.detect())["Subnet"])


def prefix_length(env: Environment | None = None) -> int:
    """The prefix length that an address of a VoiceRegion has."""
    return ipaddress.IPv4Network(subnet(env)).prefixlen


def region_addresses(env: Environment | None = None) -> list[str]:
    """The addresses reserved for VoiceRegions, region-0 first; read back from Docker, which keeps them free."""
    reserved: dict[str, str] = _configuration(env or Environment.detect()).get("AuxiliaryAddresses") or {}
    named = {int(name.removeprefix("region-")): address for name, address in reserved.items()}
    return [named[number] for number in sorted(named)]


def client_addresses(env: Environment | None = None) -> list[str]:
    """Addresses for carriers and phones (`docker run --ip`): Docker hands none of them out by itself."""
    return list(plan(subnet(env)).clients)


def probe_free(address: str, env: Environment | None = None) -> bool:
    """Whether nobody answers for the address on the cluster's network."""
    env = env or Environment.detect()
    if env.private:
        # -D: ask as a machine that would like to have the address; 0 means that nobody objected.
        command = ["arping", "-D", "-q", "-c", "2", "-w", "2", "-I", bridge_name(env), address]
        return env.run(command, check=False).returncode == 0
    return _neighbour_free(env, address)


def _neighbour_free(env: Environment, address: str) -> bool:
    """The same with what kind's stock node has: send something, see whether the kernel finds a neighbour."""
    node = env.workers()[0]
    env.docker("exec", node, "ip", "neigh", "flush", "to", address, check=False)
    env.docker("exec", node, "bash", "-c", f"echo > /dev/udp/{address}/9", check=False)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        states = env.docker("exec", node, "ip", "neigh", "show", "to", address).split()
        if "FAILED" in states:
            return True
        if {"REACHABLE", "STALE", "DELAY", "PROBE"} & set(states):
            return False
        time.sleep(0.2)
    return True


def free_addresses(candidates: Sequence[str], count: int, env: Environment | None = None) -> list[str]:
    """The first `count` of the candidates that nobody answers for."""
    found: list[str] = []
    for address in candidates:
        if len(found) == count:
            break
        if probe_free(address, env):
            found.append(address)
    if len(found) < count:
        raise LocalClusterError(f"only {len(found)} of {count} addresses are free among {', '.join(candidates)}")
    return found


def _inspect(env: Environment) -> dict[str, Any] | None:
    output = env.docker("network", "inspect", env.docker_network, check=False).strip()
    found = json.loads(output) if output else []
    return found[0] if found else None


def _configuration(env: Environment) -> dict[str, Any]:
    network = _inspect(env)
    if network is None:
        raise LocalClusterError(f"there is no Docker network {env.docker_network}: start the cluster first")
    for configuration in network["IPAM"]["Config"]:
        if ":" not in configuration["Subnet"]:
            found: dict[str, Any] = configuration
            return found
    raise LocalClusterError(f"the Docker network {env.docker_network} has no IPv4 subnet")
