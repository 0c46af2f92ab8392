"""Which ports, VRRP router ids and alias addresses a region has. Pure.

Everything that two regions on one node, or in one network, must not share comes in sets, numbered from 0: a *slot*. A
region keeps its slot for life (an annotation of its namespace says which); a new one takes the lowest that is free.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SLOTS = 50
"""VRRP has 255 router ids per network, each region takes four of them."""
FIRST_ROUTER_ID = 51
FIRST_TABLE = 20500
"""Of the routing tables, which are also the priorities of their rules: behind the kernel's table `local`, which some
networks move to 100, and before `main` (32766)."""
ALIASES = ipaddress.IPv4Network("198.18.255.0/24")
"""Addresses that exist on no interface: the node's own rules translate them to a media address or to the peer
(benchmark range, RFC 2544, so that nothing real is hidden)."""
ALIASES_PER_REGION = 4


class NoSlotError(Exception):
    """All slots are taken."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a slot means."""

    ports: Mapping[str, int | list[int]]
    router_ids: Mapping[str, int | list[int]]
    media_aliases: tuple[str, str]
    peer_alias: str
    tunnel: Mapping[str, str | int]
    """Interface, and routing table, of the tunnel between the nodes."""


def allocation(slot: int) -> Allocation:
    """The slot's set. SIP, also over TLS, and HTTPS have their usual ports in every region: their addresses are its
    own."""
    ids = [FIRST_ROUTER_ID + 4 * slot + offset for offset in range(4)]
    first = ALIASES.network_address + 1 + ALIASES_PER_REGION * slot
    return Allocation(
        ports={
            "sip": 5060,
            "sips": 5061,
            "https": 443,
            "dmq": 5070 + slot,
            "redis": 16379 + slot,
            "ng": [2223 + 2 * slot, 2224 + 2 * slot],
            "cli": [9901 + 2 * slot, 9902 + 2 * slot],
            "agent": 9780 + slot,
            "tunnel": 51840 + slot,
        },
        router_ids={"sip": ids[0], "https": ids[1], "media": ids[2:]},
        media_aliases=(str(first), str(first + 1)),
        peer_alias=str(first + 2),
        tunnel={"interface": f"okitoki-wg{slot}", "table": FIRST_TABLE + slot},
    )


def choose_slot(name: str, taken: Mapping[str, int], regions: Sequence[str]) -> int:
    """The slot of region `name`. `taken`: slots by region; `regions`: all regions, oldest first.

    Regions without a slot get the free ones in the order of their age, so that two that are made at the same time do
    not choose the same one. Raises NoSlotError.
    """
    if name in taken:
        return taken[name]
    free = [slot for slot in range(SLOTS) if slot not in taken.values()]
    waiting = [region for region in regions if region not in taken]
    place = waiting.index(name) if name in waiting else len(waiting)
    if place >= len(free):
        raise NoSlotError(f"all {SLOTS} sets of ports and VRRP router ids are taken: delete a VoiceRegion")
    return free[place]
