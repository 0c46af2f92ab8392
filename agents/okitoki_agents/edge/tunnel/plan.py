"""What the tunnel of a node must be, and what to do about what it is. Pure.

No address belongs to the tunnel. Rules of the routing policy (ip-rule(8)) send what carries keys through it, by port,
in a table of the region's own that ends in `unreachable`: with no tunnel these packets go nowhere, and never in clear.
What the node itself holds is in the kernel's table `local`, which is asked first: an address that moves needs no change
here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from okitoki_agents.edge.facts import Facts

MTU = 1420
"""Of Ethernet, less WireGuard's 60 bytes over IPv4 (80 over IPv6), as wg-quick(8) has it."""
KEEPALIVE_SECONDS = 2
"""Whoever has started, or come back, says so by itself."""
STALE_SECONDS = 180
"""Age at which a session is void (WireGuard's REJECT_AFTER_TIME); the protocol asks for a new one every 5 s only."""
SILENT_LOOKS = 20
"""Looks in a row (some 10 s) without an answer that make wireguard-go frozen, when it is not stopped: one that waits
for the processor is not helped by a new one, which needs more of it."""

Rule = tuple[tuple[str, str], ...]
"""A rule's selectors in the order and by the names of ip-rule(8)."""


@dataclass(frozen=True)
class Keys:
    """What this node needs of the region's keys (base64, wg(8)); `peer` is public."""

    private: str
    peer: str

    def __repr__(self) -> str:
        return "Keys(…)"


def parse_keys(text: str) -> Keys | None:
    """`Paths.tunnel_keys`, as the agent writes it; None for what is not of its form."""
    try:
        document = json.loads(text)
        return Keys(str(document["private"]), str(document["peer"]))
    except (ValueError, KeyError, TypeError):
        return None


def key_document(keys: Keys) -> str:
    """The content of that file."""
    return json.dumps({"private": keys.private, "peer": keys.peer})


def configuration(facts: Facts, keys: Keys, peer: str | None) -> str:
    """Input of `wg setconf` and `wg syncconf`; without a peer its section is missing."""
    port = facts.region.ports.tunnel
    lines = ["[Interface]", f"PrivateKey = {keys.private}", f"ListenPort = {port}"]
    if peer:
        inside = ", ".join(f"{ip}/32" for ip in (peer, *facts.region.media))
        lines += ["[Peer]", f"PublicKey = {keys.peer}", f"Endpoint = {peer}:{port}", f"AllowedIPs = {inside}"]
        lines += [f"PersistentKeepalive = {KEEPALIVE_SECONDS}"]
    return "\n".join([*lines, ""])


def rules(facts: Facts, peer: str | None) -> frozenset[Rule]:
    """Which packets go by the tunnel's table: of Redis, and of the engines' command ports, both ways."""
    if not peer:
        return frozenset()
    own, redis = facts.node_ip, str(facts.region.ports.redis)
    found: set[Rule] = {
        (("to", peer), ("ipproto", "tcp"), ("dport", redis)),
        (("from", own), ("to", peer), ("ipproto", "tcp"), ("sport", redis)),
    }
    for media, port in zip(facts.region.media, facts.region.ports.ng, strict=True):
        found.add((("to", media), ("ipproto", "udp"), ("dport", str(port))))
        found.add((("from", media), ("to", peer), ("ipproto", "udp"), ("sport", str(port))))
    return frozenset(found)


def routes(facts: Facts, peer: str | None) -> tuple[str, ...]:
    """Destinations beyond the tunnel."""
    return (peer, *facts.region.media) if peer else ()


@dataclass(frozen=True)
class Seen:
    """The tunnel as it is. `runs`, `stopped`: wireguard-go's process (the kernel's own WireGuard runs while there is an
    interface); `silent`: looks in a row that it has not answered; `configured`, `routed`: it has what it must have;
    `handshake`: seconds since the peer's last one, None for never; `greeted`: seconds since the peer was made anew for
    its sake."""

    exists: bool
    runs: bool
    stopped: bool
    silent: int
    configured: bool
    routed: bool
    handshake: float | None
    greeted: float


@dataclass(frozen=True)
class Decision:
    """What to do, and why."""

    action: Literal["none", "kill", "make", "configure", "route", "greet"]
    reason: str


def decide(seen: Seen, has_peer: bool) -> Decision:
    """The next step; what is most broken first."""
    if seen.runs and not seen.exists:
        return Decision("kill", "the interface is gone under wireguard-go")
    if seen.runs and seen.stopped:
        return Decision("kill", "wireguard-go is stopped")
    if seen.runs and seen.silent >= SILENT_LOOKS:
        return Decision("kill", f"wireguard-go has not answered {seen.silent} times")
    if not (seen.exists and seen.runs):
        return Decision("make", "there is no wireguard-go" if seen.exists else "there is no interface")
    if not seen.configured:
        return Decision("configure", "keys or the peer are other ones now")
    if not seen.routed:
        return Decision("route", "rules or routes are missing or wrong")
    if has_peer and (seen.handshake is None or seen.handshake > STALE_SECONDS) and seen.greeted >= 1.0:
        return Decision("greet", "there is no session with the peer")
    return Decision("none", "the tunnel is as it must be")
