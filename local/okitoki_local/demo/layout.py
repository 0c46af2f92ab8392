"""Who is where in the demo: addresses, tenants, agents, queues. Pure, but for `choose`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from okitoki_local import network
from okitoki_local.environment import PACKAGE_ROOT, Environment
from okitoki_local.system import LocalClusterError

EXAMPLES = PACKAGE_ROOT.parent / "examples"
REGION_ADDRESSES = 4
AGENTS_PER_TENANT = 8
FIRST_AGENT = 1001

Object = dict[str, Any]


@dataclass(frozen=True)
class Addresses:
    """The region's addresses, and those of the containers outside the cluster."""

    sip: str
    https: str
    media: tuple[str, str]
    carrier: str
    clients: tuple[str, ...]

    @property
    def agents(self) -> str:
        return self.clients[0]

    @property
    def tool(self) -> str:
        """For API calls that are no traffic: provisioning, reading back."""
        return self.clients[1]

    def writer(self, index: int) -> str:
        return self.clients[2 + index]


@dataclass(frozen=True)
class TenantPlan:
    """One tenant as the demo uses it."""

    name: str
    host: str
    number: str
    queue: str
    agents: tuple[str, ...]
    landlines: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        return f"tenant-{self.name}"


def load_manifests(folder: Path = EXAMPLES) -> list[Object]:
    """The objects in a folder's files, regions first."""
    found: list[Object] = []
    for path in sorted(folder.glob("*.yaml")):
        documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        # The folder is kustomize's too, and its own file is none of the platform's objects.
        found += [obj for obj in documents if obj and obj["apiVersion"].startswith("platform.")]
    return sorted(found, key=lambda obj: obj["kind"] != "VoiceRegion")


def place(objects: Sequence[Object], addresses: Addresses) -> list[Object]:
    """The same objects with real addresses in the place of the examples'."""
    placed = [copy.deepcopy(obj) for obj in objects]
    for obj in placed:
        if obj["kind"] == "VoiceRegion":
            obj["spec"]["addresses"] = {
                **obj["spec"]["addresses"],
                "sip": addresses.sip,
                "https": addresses.https,
                "media": list(addresses.media),
            }
            obj["spec"]["carriers"][0]["hosts"] = [addresses.carrier]
    return placed


def region_of(objects: Sequence[Object]) -> Object:
    return next(obj for obj in objects if obj["kind"] == "VoiceRegion")


def tenants_of(objects: Sequence[Object]) -> list[TenantPlan]:
    """The tenants with their host names, and the agents that they are given."""
    domains = {obj["metadata"]["name"]: obj["spec"]["domain"] for obj in objects if obj["kind"] == "VoiceRegion"}
    plans = []
    for obj in objects:
        if obj["kind"] != "Tenant":
            continue
        name, spec = obj["metadata"]["name"], obj["spec"]
        route = spec["numbers"][0]
        agents = tuple(str(FIRST_AGENT + index) for index in range(AGENTS_PER_TENANT))
        landlines = tuple(route.get("landlines") or spec.get("backup", {}).get("landlines", ()))
        host = f"{name}.{domains[spec['regions'][0]]}"
        plans.append(TenantPlan(name, host, route["number"], route["queue"], agents, landlines))
    return plans


def existing_addresses(region: Mapping[str, Any], clients: tuple[str, ...]) -> Addresses:
    """The addresses of a region that is there already: its spec has them, and they are in use by itself."""
    spec = region["spec"]
    first, second = spec["addresses"]["media"]
    carrier = spec["carriers"][0]["hosts"][0]
    return Addresses(spec["addresses"]["sip"], spec["addresses"]["https"], (first, second), carrier, clients)


def choose(env: Environment, existing: Mapping[str, Any] | None, tenants: int) -> Addresses:
    """Pick addresses that are reserved for such uses and that nobody answers for."""
    taken = {existing["spec"]["carriers"][0]["hosts"][0]} if existing else set()
    candidates = [address for address in network.client_addresses(env) if address not in taken][:24]
    clients = first_free(candidates, 3 + tenants, lambda address: network.probe_free(address, env))
    if existing is not None:
        return existing_addresses(existing, tuple(clients[1:]))
    free = first_free(network.region_addresses(env), REGION_ADDRESSES, lambda address: network.probe_free(address, env))
    return Addresses(free[0], free[3], (free[1], free[2]), clients[0], tuple(clients[1:]))


def first_free(candidates: Sequence[str], count: int, free: Callable[[str], bool]) -> list[str]:
    """The first `count` candidates that are free; asked all at once, since each answer takes seconds."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = [address for address, good in zip(candidates, pool.map(free, candidates), strict=True) if good]
    if len(found) < count:
        raise LocalClusterError(
            f"only {len(found)} of {count} addresses are free among {', '.join(candidates)}:"
            " something else uses the cluster's network"
        )
    return found[:count]
