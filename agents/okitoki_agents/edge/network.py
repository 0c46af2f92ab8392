"""The node's addresses: which interface carries them, and taking the region's away. Blocking; for the start of processes."""

from __future__ import annotations

from collections.abc import Iterable

from pyroute2 import IPRoute, NetlinkError

EADDRNOTAVAIL = 99


class NetworkError(RuntimeError):
    """The node is not what the edge was told."""


def interface_of(ip: str) -> tuple[int, str]:
    """Index and name of the interface that carries `ip`. Raises NetworkError."""
    with IPRoute() as netlink:
        for message in netlink.get_addr(family=2):
            if message.get_attr("IFA_LOCAL") == ip:
                index = message["index"]
                return index, netlink.get_links(index)[0].get_attr("IFLA_IFNAME")
    raise NetworkError(f"NODE_IP: {ip} is on no interface of this node; the pod must use the host network")


def remove(ips: Iterable[str]) -> list[str]:
    """Delete those of `ips` that are on this node, whatever their prefix; returns them."""
    wanted, removed = set(ips), []
    with IPRoute() as netlink:
        for message in netlink.get_addr(family=2):
            local = message.get_attr("IFA_LOCAL")
            if local in wanted:
                try:
                    netlink.addr("del", index=message["index"], address=local, prefixlen=message["prefixlen"])
                except NetlinkError as error:
                    if error.code != EADDRNOTAVAIL:
                        raise
                removed.append(local)
    return removed
