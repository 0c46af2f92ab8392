"""Addresses of a tenant's app pods, from the EndpointSlices of its Service."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from okitoki_agents.kube import Object


@dataclass(frozen=True, order=True)
class Backend:
    """One app pod. `terminating`: it gets no new requests, those under way are left to finish."""

    address: str
    terminating: bool = False


def backends_of_slices(slices: Iterable[Object]) -> tuple[Backend, ...]:
    """The IPv4 pods of a Service in the order of their addresses, each once.

    Readiness is left to HAProxy's own checks on purpose: they see a fault in about a second, the kubelet's probe in
    several, and an API server that is gone must not freeze the answer.
    """
    found: dict[str, Backend] = {}
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") != "IPv4":
            continue
        for endpoint in endpoint_slice.get("endpoints") or []:
            terminating = bool((endpoint.get("conditions") or {}).get("terminating"))
            for address in endpoint.get("addresses") or []:
                known = found.get(address)
                found[address] = Backend(address, terminating and (known is None or known.terminating))
    return tuple(sorted(found.values(), key=lambda backend: ipaddress.ip_address(backend.address)))
