"""The node's addresses: which interface carries them, and taking the region's away. For the start of processes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from okitoki_agents.edge import rtnetlink
from okitoki_agents.edge.rtnetlink import AddressEvent


class NetworkError(RuntimeError):
    """The node is not what the edge was told."""


def addresses() -> list[AddressEvent]:
    """All IPv4 addresses of the node."""
    found: list[AddressEvent] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(rtnetlink.dump())
        while True:
            for event in rtnetlink.events(netlink.recv(1 << 17)):
                if event is None:
                    return found
                found.append(event)


def interface_of(ip: str) -> str:
    """Name of the interface that carries `ip`. Raises NetworkError."""
    for address in addresses():
        if address.ip == ip:
            return socket.if_indextoname(address.interface)
    raise NetworkError(f"NODE_IP: {ip} is on no interface of this node; the pod must use the host network")


def gateway(interface: str, routes: Path = Path("/proc/net/route")) -> str | None:
    """The router of the default route through `interface`, None without one (proc_net_route: hexadecimal, in the byte
    order of the machine)."""
    for line in routes.read_text().splitlines()[1:]:
        name, destination, router = line.split()[:3]
        if name == interface and int(destination, 16) == 0 and int(router, 16):
            return socket.inet_ntoa(struct.pack("=I", int(router, 16)))
    return None


def remove(ips: Iterable[str]) -> list[str]:
    """Delete those of `ips` that are on this node, whatever their prefix; returns them."""
    wanted = set(ips)
    present = [address for address in addresses() if address.ip in wanted]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        for address in present:
            netlink.send(rtnetlink.delete(address.ip, address.prefix, address.interface))
    return [address.ip for address in present]
