"""HAProxy's configuration as data: which slots a tenant has, the rendered text, and the commands that bring a running
worker to it. Pure; `haproxy.py` does.

A tenant has a number of server *slots*, of which pods fill some. A pod that comes or goes changes a slot through the
runtime API (configuration manual 3.0, "Dynamic servers"; management guide, `set server`), which costs no connection; a
reload is for what only a file can say: tenants, certificates, more slots.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2

from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.tenants import EdgeTenant

SLOTS_LEAST = 4
UNUSED_ADDRESS = "127.0.0.1"
"""What an unused slot points to; it is in maintenance, so nothing connects there."""

ADMIN_MAINTENANCE = 0x01
ADMIN_DRAIN = 0x08
"""Bits of `srv_admin_state` in `show servers state` that `set server … state` sets and clears."""

ERRORS = (
    (400, "bad_request", "The request could not be read."),
    (408, "request_timeout", "The request did not arrive in time."),
    (413, "too_large", "The request is too large."),
    (500, "internal", "The proxy failed."),
    (502, "bad_gateway", "The app did not answer. It is not known whether the request had an effect."),
    (503, "unavailable", "No app server of this tenant can be reached. Try again."),
    (504, "gateway_timeout", "The app did not answer in time. It is not known whether the request had an effect."),
)


@dataclass(frozen=True)
class Refusal:
    """What every request for a tenant is answered, in the form of the app's own errors."""

    status: int
    code: str
    message: str
    retry_after: int | None = None
    """Seconds."""


REFUSALS = {
    "Paused": Refusal(503, "tenant_paused", "The service of this company is paused.", 3600),
    "Suspended": Refusal(403, "tenant_suspended", "The service of this company is suspended."),
}
"""By state of the tenant."""


@dataclass(frozen=True)
class Slot:
    """Place of one pod. `state` is a value of `set server … state`: ready, drain (no new requests) or maint
    (unused)."""

    address: str = UNUSED_ADDRESS
    state: str = "maint"


@dataclass(frozen=True)
class TenantBackend:
    """A tenant as HAProxy sees it."""

    name: str
    host: str
    server_name: str
    port: int
    slots: tuple[Slot, ...]
    refusal: Refusal | None = None
    """Instead of servers: then there are no slots."""


@dataclass(frozen=True)
class Files:
    """Where things are. `hosts`, `certificate` and `authorities` carry a hash of their content in the name, so that a
    configuration and what it names always fit together."""

    folder: Path
    run: Path
    ca: Path
    """Authorities as the platform gives them; their content changes."""

    @property
    def stats_socket(self) -> Path:
        """The worker's command socket."""
        return self.run / "haproxy.sock"

    @property
    def master_socket(self) -> Path:
        """The master's command socket (`haproxy -S`)."""
        return self.run / "haproxy-master.sock"

    @property
    def health_socket(self) -> Path:
        """Answers HTTP 200 while the worker lives."""
        return self.run / "haproxy-health.sock"

    @property
    def server_state(self) -> Path:
        """What the old worker knew of its servers, for the new one."""
        return self.run / "servers.state"

    @property
    def config(self) -> Path:
        """What HAProxy starts with."""
        return self.folder / "haproxy.cfg"

    @property
    def candidate(self) -> Path:
        """What may become `config` when `haproxy -c` likes it."""
        return self.folder / "candidate.cfg"

    def hosts(self, content: bytes) -> Path:
        """Map of host name to backend."""
        return self.folder / f"hosts-{_hash(content)}.map"

    def certificate(self, content: bytes) -> Path:
        """The region's certificate and key."""
        return self.folder / f"tls-{_hash(content)}.pem"

    def authorities(self, content: bytes) -> Path:
        """What the apps' certificates are checked with."""
        return self.folder / f"ca-{_hash(content)}.pem"


@dataclass(frozen=True)
class Rendered:
    """A configuration and its companions. `structure`: hash of all that cannot be changed at run time."""

    config: bytes
    structure: str
    pem: bytes
    ca: bytes
    companions: Mapping[Path, bytes]
    tenants: tuple[TenantBackend, ...]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def assign_slots(slots: tuple[Slot, ...], backends: Iterable[Backend]) -> tuple[Slot, ...]:
    """Slots for `backends`, in which every pod that had one keeps it, so that its checks and counters go on.

    There are SLOTS_LEAST or twice, four times … as many, and never fewer than before: more slots need a reload, spare
    ones cost nothing.
    """
    wanted = {
        backend.address: Slot(backend.address, "drain" if backend.terminating else "ready") for backend in backends
    }
    size = max(SLOTS_LEAST, len(slots))
    while size < len(wanted):
        size *= 2
    assigned = [wanted.pop(slot.address, None) for slot in slots] + [None] * (size - len(slots))
    rest = iter(list(wanted.values()))
    return tuple(slot or next(rest, Slot()) for slot in assigned)


def tenant_backends(
    tenants: Mapping[str, EdgeTenant], backends: Mapping[str, Iterable[Backend]], before: Iterable[TenantBackend]
) -> tuple[TenantBackend, ...]:
    """The tenants in order of their names, with slots that follow from those they had."""
    known = {tenant.name: tenant.slots for tenant in before}
    return tuple(
        TenantBackend(
            name=name,
            host=tenant.host,
            server_name=tenant.serverName,
            port=tenant.port,
            slots=assign_slots(known.get(name, ()), backends.get(name, ())) if tenant.served else (),
            refusal=REFUSALS.get(tenant.state),
        )
        for name, tenant in sorted(tenants.items())
    )


def render(
    template: jinja2.Template,
    files: Files,
    address: str,
    port: int,
    pem: bytes,
    ca: bytes,
    tenants: tuple[TenantBackend, ...],
) -> Rendered:
    """The whole configuration for these tenants on the region's HTTPS `address`, which shows the certificate `pem` and
    checks the apps' ones with the authorities `ca`."""
    hosts = "".join(f"{tenant.host} tenant_{tenant.name}\n" for tenant in tenants).encode()
    companions = {files.hosts(hosts): hosts, files.certificate(pem): pem, files.authorities(ca): ca}

    def text(shown: tuple[TenantBackend, ...], structure: str) -> bytes:
        return template.render(
            structure=structure,
            files=files,
            errors=ERRORS,
            address=address,
            port=port,
            hosts=files.hosts(hosts),
            certificate=files.certificate(pem),
            authorities=files.authorities(ca),
            tenants=shown,
        ).encode()

    emptied = tuple(replace(tenant, slots=(Slot(),) * len(tenant.slots)) for tenant in tenants)
    structure = _hash(text(emptied, ""))
    return Rendered(text(tenants, structure), structure, pem, ca, companions, tenants)


def parse_servers_state(answer: str) -> dict[tuple[str, str], Slot]:
    """Servers of `show servers state` by backend and name, as slots.

    Format version 1 (management guide 3.0): fields 2 be_name, 4 srv_name, 5 srv_addr, 7 srv_admin_state. Raises
    ValueError for anything else.
    """
    lines = answer.strip().splitlines()
    if not lines or lines[0].strip() != "1":
        raise ValueError(f"show servers state: version 1 expected, found {lines[:1]}")
    found: dict[tuple[str, str], Slot] = {}
    for line in lines[1:]:
        if line.startswith("#") or not line.strip():
            continue
        fields = line.split()
        admin = int(fields[6])
        state = "maint" if admin & ADMIN_MAINTENANCE else "drain" if admin & ADMIN_DRAIN else "ready"
        found[fields[1], fields[3]] = Slot(fields[4], state)
    return found


def slot_commands(tenants: Iterable[TenantBackend], running: Mapping[tuple[str, str], Slot]) -> list[str]:
    """Commands that bring the running servers to the wanted slots; empty when they are there.

    The checked server and its unchecked twin (see the template) change together. A slot whose pod is replaced goes
    through maintenance, which ends what still hangs on the old pod. Raises KeyError for a server that the worker does
    not have.
    """
    commands = []
    for tenant in tenants:
        for index, slot in enumerate(tenant.slots, start=1):
            for prefix in "sb":
                backend, server = f"tenant_{tenant.name}", f"{prefix}{index}"
                now = running[backend, server]
                if slot.state == "maint":
                    if now.state != "maint":
                        commands.append(f"set server {backend}/{server} state maint")
                    continue
                if slot.address != now.address:
                    if now.state != "maint":
                        commands.append(f"set server {backend}/{server} state maint")
                    commands.append(f"set server {backend}/{server} addr {slot.address} port {tenant.port}")
                elif slot.state == now.state:
                    continue
                commands.append(f"set server {backend}/{server} state {slot.state}")
    return commands


def carry_over(answer: str, tenants: Iterable[TenantBackend]) -> str:
    """Lines of `show servers state` that still hold after a reload: those of servers that keep pod and state.

    Without them a new worker takes each server for good until three checks have failed.
    """
    running = parse_servers_state(answer)
    kept = {
        (f"tenant_{tenant.name}", f"{prefix}{index}")
        for tenant in tenants
        for index, slot in enumerate(tenant.slots, start=1)
        for prefix in "sb"
        if slot.state != "maint" and running.get((f"tenant_{tenant.name}", f"{prefix}{index}")) == slot
    }
    lines = answer.strip().splitlines()
    return "\n".join(
        [*lines[:2], *(line for line in lines[2:] if line.strip() and tuple(line.split()[1:4:2]) in kept), ""]
    )
