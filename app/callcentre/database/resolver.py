"""Addresses of the members. DNS is a dependency that may be down, so nothing ever waits for it.

Each member's last good address is kept and refreshed in the background. Before the first answer of DNS the address of
the member's Service that the kubelet put into the environment is used (`POSTGRES_0_SERVICE_HOST`), if there is one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping

from callcentre.database.members import Member

REFRESH = 30.0
RETRY = 1.0

log = logging.getLogger(__name__)

Lookup = Callable[[str, int], Awaitable[str]]


async def lookup_name(host: str, port: int) -> str:
    """The first address of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError(f"{host} has no address")
    return str(found[0][4][0])


def literal_address(host: str) -> str | None:
    """`host` when it is an address already."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def environment_address(host: str, environ: Mapping[str, str]) -> str | None:
    """The ClusterIP of Service `host` as the kubelet passes it to pods that start after the Service."""
    value = environ.get(host.split(".")[0].upper().replace("-", "_") + "_SERVICE_HOST", "")
    return literal_address(value)


class Resolver:
    """`address(member)` answers at once; `run()` keeps the answers fresh until cancelled."""

    def __init__(self, members: Iterable[Member], environ: Mapping[str, str], lookup: Lookup = lookup_name) -> None:
        self._lookup = lookup
        self._addresses: dict[str, str] = {}
        self._names: list[Member] = []
        for member in members:
            literal = literal_address(member.host)
            if literal is None:
                self._names.append(member)
            known = literal or environment_address(member.host, environ)
            if known is not None:
                self._addresses[member.host] = known

    def address(self, member: Member) -> str | None:
        """The last good address, or None while there was none."""
        return self._addresses.get(member.host)

    async def run(self) -> None:
        """One loop per name: a name server that hangs on one does not hold up the others."""
        async with asyncio.TaskGroup() as loops:
            for member in self._names:
                loops.create_task(self._refresh(member))

    async def _refresh(self, member: Member) -> None:
        failing = False
        while True:
            try:
                address = await self._lookup(member.host, member.port)
            except OSError as error:
                if not failing:
                    log.warning("name of a member not resolved", extra={"member": member.name, "reason": str(error)})
                failing = True
                await asyncio.sleep(RETRY)
                continue
            if self._addresses.get(member.host) != address:
                log.info("address of a member", extra={"member": member.name, "address": address})
            self._addresses[member.host] = address
            failing = False
            await asyncio.sleep(REFRESH)
