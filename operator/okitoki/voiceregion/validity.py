"""What no schema can see: that the region's addresses are free. Pure."""

from __future__ import annotations

import ipaddress

from okitoki.api.voiceregion import VoiceRegion
from okitoki.voiceregion.allocation import ALIASES
from okitoki.voiceregion.facts import Observed


def region_addresses(region: VoiceRegion) -> dict[str, str]:
    """The region's addresses by the field that has them."""
    addresses = region.spec.addresses
    return {
        "spec.addresses.sip": addresses.sip,
        "spec.addresses.https": addresses.https,
        "spec.addresses.media[0]": addresses.media[0],
        "spec.addresses.media[1]": addresses.media[1],
    }


def invalid_because(region: VoiceRegion, observed: Observed) -> tuple[str, str] | None:
    """(reason, message) of the first thing that makes the region unusable, or None."""
    own = region_addresses(region)
    for field, address in own.items():
        ip = ipaddress.IPv4Address(address)
        if ip in ALIASES:
            return "AddressReserved", f"{field}: {address} is in {ALIASES}, which the edge uses inside: choose another"
        for node in observed.nodes:
            if address in node.addresses:
                return "AddressOfNode", f"{field}: {address} is node {node.name}'s own address: choose a free one"
            if any(ip in ipaddress.ip_network(block) for block in node.pod_ranges):
                return "AddressOfPods", f"{field}: {address} is in the pod range of node {node.name}: choose another"
        for carrier in region.spec.carriers:
            if address in carrier.hosts:
                return (
                    "AddressOfCarrier",
                    f"{field}: {address} is also a host of carrier {carrier.name}; the region needs its own addresses",
                )
    for other in observed.others:
        if not other.older:
            continue
        for field, address in own.items():
            if address in other.addresses:
                return (
                    "AddressTaken",
                    f"{field}: {address} is VoiceRegion {other.name}'s, which is older: choose another",
                )
        if other.domain == region.spec.domain:
            return "DomainTaken", f"spec.domain: {other.domain} is VoiceRegion {other.name}'s, which is older"
    return None
