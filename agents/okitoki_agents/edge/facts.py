"""What an edge node knows about itself and its region: `/etc/okitoki/region.json` and the environment.

The shape of `region.json` is the contract in docs/interfaces.md: the operator writes it, every process of the pod reads
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any

SERVICES = ("kamailio", "rtpengine-1", "rtpengine-2", "haproxy")
"""Services whose health decides where an address lives; each has a track file of this name."""


REGION_FILE = Path("/etc/okitoki/region.json")
_INTERFACE_SIZE = 15
"""Of the kernel's 16 bytes (IFNAMSIZ), less the end and one for a trial's name."""


class FactsError(ValueError):
    """region.json or the environment is unusable; the message names the field and the mend."""


@dataclass(frozen=True)
class Paths:
    """Where the pod's files are. `run` lives as long as the pod, `data` as long as its volume."""

    run: Path = Path("/run/edge")
    data: Path = Path("/var/lib/edge")

    @property
    def conf(self) -> Path:
        """Rendered configurations (mode 0700: they hold the Redis password)."""
        return self.run / "conf"

    @property
    def track(self) -> Path:
        """keepalived's track files, one per service: 0 good, 1 fault."""
        return self.run / "track"

    @property
    def pid(self) -> Path:
        """One file per container: the pid, in the shared pid namespace, of its process."""
        return self.run / "pid"

    @property
    def status(self) -> Path:
        return self.run / "status.json"

    @property
    def heartbeat(self) -> Path:
        """Touched by the guard twice a second; keepalived gives the addresses away when it grows old."""
        return self.run / "heartbeat"

    @property
    def left(self) -> Path:
        """Addresses that this node leaves to the peer, blanks between them; written by the agent at every look, and
        void when it is older than a few seconds."""
        return self.run / "left"

    @property
    def draining(self) -> Path:
        """Exists while the guard is asked to give all addresses away."""
        return self.run / "draining"

    @property
    def drained(self) -> Path:
        """Exists once no address of the region is left on this node after a drain."""
        return self.run / "drained"

    @property
    def kamailio_rpc(self) -> Path:
        """Datagram socket of Kamailio's JSON-RPC."""
        return self.run / "kamailio" / "rpc.sock"

    @property
    def kamailio_tables(self) -> Path:
        """db_text tables that Kamailio loads at start and on `htable.reload`."""
        return self.data / "kamailio"

    @property
    def live_registrations(self) -> Path:
        """SQLite file that Kamailio writes phones' registrations to; in memory, as the pod's run directory is."""
        return self.kamailio_rpc.with_name("registrations.sqlite")

    @property
    def registrations(self) -> Path:
        """The agent's copy of it on disk."""
        return self.data / "registrations.sqlite"

    @property
    def sip_certificate(self) -> Path:
        """Chain and key, in one PEM file, of SIP over TLS."""
        return self.data / "sip-tls.pem"

    @property
    def haproxy_config(self) -> Path:
        """Written by the agent, which knows tenants and back ends."""
        return self.data / "haproxy" / "haproxy.cfg"

    @property
    def haproxy_stats(self) -> Path:
        """Command socket of HAProxy's worker; the names in this folder are the agent's (`haproxy_config.Files`)."""
        return self.run / "haproxy" / "haproxy.sock"

    @property
    def haproxy_health(self) -> Path:
        """Unix socket on which HAProxy's worker answers HTTP 200."""
        return self.haproxy_stats.with_name("haproxy-health.sock")

    @property
    def haproxy_master(self) -> Path:
        """Command socket of HAProxy's master process."""
        return self.haproxy_stats.with_name("haproxy-master.sock")

    @property
    def peer(self) -> Path:
        """The other edge node's IPv4 address, or empty; written by the agent."""
        return self.data / "peer"

    @property
    def plain_peer(self) -> Path:
        """The address of a peer whose edge is of a version without a tunnel; written by the agent."""
        return self.data / "plain-peer"

    @property
    def tunnel_keys(self) -> Path:
        """This node's private and the peer's public key (`tunnel.plan.parse_keys`); written by the agent."""
        return self.data / "tunnel.json"

    @property
    def tunnel_status(self) -> Path:
        """How the tunnel is, in its supervisor's words; written at every look."""
        return self.run / "tunnel.json"


@dataclass(frozen=True)
class Address:
    """An address of the region, the VRRP instance that moves it and the service that answers on it."""

    name: str
    ip: str
    router_id: int
    service: str


@dataclass(frozen=True)
class Ports:
    sip: int
    sips: int
    https: int
    dmq: int
    redis: int
    ng: tuple[int, int]
    cli: tuple[int, int]
    agent: int
    tunnel: int


@dataclass(frozen=True)
class Tunnel:
    """Interface, and routing table (also its rules' priority), of the region's tunnel between the nodes."""

    interface: str
    table: int


@dataclass(frozen=True)
class Carrier:
    """`probe_seconds`: how often each host is asked by OPTIONS whether it is there, 0 for never."""

    name: str
    hosts: tuple[str, ...]
    probe_seconds: int


@dataclass(frozen=True)
class Region:
    """region.json, checked."""

    name: str
    domain: str
    namespace: str
    sip: str
    https: str
    media: tuple[str, str]
    ports: Ports
    media_aliases: tuple[str, str]
    peer_alias: str
    media_ports: tuple[int, int]
    max_calls: int | None
    """None: the ports alone are the limit."""
    advert_interval_ms: int
    router_ids: Mapping[str, int]
    carriers: tuple[Carrier, ...]
    tunnel: Tunnel

    @property
    def addresses(self) -> tuple[Address, ...]:
        return (
            Address("sip", self.sip, self.router_ids["sip"], "kamailio"),
            Address("https", self.https, self.router_ids["https"], "haproxy"),
            Address("media-1", self.media[0], self.router_ids["media-1"], "rtpengine-1"),
            Address("media-2", self.media[1], self.router_ids["media-2"], "rtpengine-2"),
        )


@dataclass(frozen=True)
class Facts:
    """Everything a process of the edge pod may know at its start."""

    region: Region
    node_ip: str
    pod_name: str
    pod_namespace: str
    redis_password: str = field(repr=False)
    nonce_secret: str = field(repr=False)
    paths: Paths = Paths()

    @property
    def ordinal(self) -> int:
        """0 or 1: the StatefulSet's ordinal; decides which addresses are at home on this node."""
        return int(self.pod_name.rpartition("-")[2])


def load(environ: Mapping[str, str], region_file: Path = REGION_FILE) -> Facts:
    """Read and check the facts. Raises FactsError."""
    try:
        document = json.loads(region_file.read_text())
    except OSError as error:
        raise FactsError(
            f"{region_file}: {error.strerror}; the operator mounts it from ConfigMap edge-region"
        ) from error
    except ValueError as error:
        raise FactsError(
            f"{region_file}: not JSON ({error}); the operator writes it into ConfigMap edge-region"
        ) from error
    pod_name = _variable(environ, "POD_NAME")
    if not pod_name.rpartition("-")[2].isdigit():
        raise FactsError(f"POD_NAME: {pod_name!r} does not end in -ORDINAL; it must be the name of a StatefulSet's pod")
    return Facts(
        region=parse_region(document),
        node_ip=_ip(_variable(environ, "NODE_IP"), "NODE_IP"),
        pod_name=pod_name,
        pod_namespace=_variable(environ, "POD_NAMESPACE"),
        redis_password=_secret(environ, "REDIS_PASSWORD"),
        nonce_secret=_secret(environ, "NONCE_SECRET"),
    )


def parse_region(document: Any) -> Region:
    """region.json (already decoded) -> Region. Raises FactsError naming the field."""
    if not isinstance(document, Mapping):
        raise FactsError("region.json: must be an object as in docs/interfaces.md")
    addresses, aliases = _get(document, "addresses"), _get(document, "aliases")
    ports, vrrp = _get(document, "ports"), _get(document, "vrrp")
    router_ids = _get(vrrp, "routerIds", "vrrp.")
    media_ids = _pair(router_ids, "media", "vrrp.routerIds.", _router_id)
    media_ports = _get(document, "mediaPorts")
    first, last = (_port(_get(media_ports, key, "mediaPorts."), f"mediaPorts.{key}") for key in ("from", "to"))
    if first >= last:
        raise FactsError(f"mediaPorts: from {first} must be below to {last}")
    region = Region(
        name=str(_get(document, "region")),
        domain=str(_get(document, "domain")),
        namespace=str(_get(document, "namespace")),
        sip=_ip(_get(addresses, "sip", "addresses."), "addresses.sip"),
        https=_ip(_get(addresses, "https", "addresses."), "addresses.https"),
        media=_pair(addresses, "media", "addresses.", _ip),
        ports=_ports(ports),
        media_aliases=_pair(aliases, "media", "aliases.", _ip),
        peer_alias=_ip(_get(aliases, "peer", "aliases."), "aliases.peer"),
        media_ports=(first, last),
        max_calls=_number(document["maxCalls"], "maxCalls") if "maxCalls" in document else None,
        advert_interval_ms=_number(
            _get(vrrp, "advertIntervalMilliseconds", "vrrp."), "vrrp.advertIntervalMilliseconds"
        ),
        router_ids={
            "sip": _router_id(_get(router_ids, "sip", "vrrp.routerIds."), "vrrp.routerIds.sip"),
            "https": _router_id(_get(router_ids, "https", "vrrp.routerIds."), "vrrp.routerIds.https"),
            "media-1": media_ids[0],
            "media-2": media_ids[1],
        },
        carriers=tuple(_carrier(item, i) for i, item in enumerate(_get(document, "carriers"))),
        tunnel=_tunnel(_get(document, "tunnel")),
    )
    owned = [address.ip for address in region.addresses] + [*region.media_aliases, region.peer_alias]
    if len(set(owned)) != len(owned):
        raise FactsError(f"addresses, aliases: {', '.join(owned)} must all be different")
    return region


def _ports(ports: Any) -> Ports:
    single = {
        key: _port(_get(ports, key, "ports."), f"ports.{key}")
        for key in ("sip", "sips", "https", "dmq", "redis", "agent", "tunnel")
    }
    return Ports(**single, ng=_pair(ports, "ng", "ports.", _port), cli=_pair(ports, "cli", "ports.", _port))


def _tunnel(item: Any) -> Tunnel:
    interface = str(_get(item, "interface", "tunnel."))
    if not 0 < len(interface) < _INTERFACE_SIZE:
        raise FactsError(f"tunnel.interface: {interface!r} must have 1 to {_INTERFACE_SIZE - 1} characters")
    return Tunnel(interface, _number(_get(item, "table", "tunnel."), "tunnel.table"))


def _carrier(item: Any, index: int) -> Carrier:
    prefix = f"carriers[{index}]."
    hosts = _get(item, "hosts", prefix)
    probe = _get(item, "probeSeconds", prefix)
    if probe != 0:
        _number(probe, f"{prefix}probeSeconds")
    return Carrier(str(_get(item, "name", prefix)), tuple(_ip(host, f"{prefix}hosts") for host in hosts), probe)


def _get(mapping: Any, key: str, prefix: str = "") -> Any:
    if not isinstance(mapping, Mapping) or key not in mapping:
        raise FactsError(f"{prefix}{key}: missing in region.json; docs/interfaces.md shows its shape")
    return mapping[key]


def _pair(mapping: Any, key: str, prefix: str, check: Any) -> tuple[Any, Any]:
    value = _get(mapping, key, prefix)
    if not isinstance(value, list) or len(value) != 2:
        raise FactsError(f"{prefix}{key}: must be a list of two, one per media address")
    return check(value[0], f"{prefix}{key}[0]"), check(value[1], f"{prefix}{key}[1]")


def _ip(value: Any, name: str) -> str:
    try:
        return str(IPv4Address(value))
    except (AddressValueError, ValueError) as error:
        raise FactsError(f"{name}: {value!r} is not an IPv4 address") from error


def _number(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise FactsError(f"{name}: {value!r} must be a positive whole number")
    return value


def _port(value: Any, name: str) -> int:
    if _number(value, name) > 65535:
        raise FactsError(f"{name}: {value} is not a port (1 to 65535)")
    return int(value)


def _router_id(value: Any, name: str) -> int:
    if _number(value, name) > 255:
        raise FactsError(f"{name}: {value} is not a VRRP router id (1 to 255, RFC 5798)")
    return int(value)


def _variable(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise FactsError(f"{name}: not set in the environment; the operator's edge StatefulSet sets it")
    return environ[name]


def _secret(environ: Mapping[str, str], name: str) -> str:
    """A secret goes into configuration files of five syntaxes, so only characters that are plain in all are let in."""
    value = _variable(environ, name)
    if not value.isascii() or not value.isalnum() or len(value) < 16:
        raise FactsError(f"{name}: must be at least 16 ASCII letters and digits, as Secret edge-secrets holds it")
    return value
