"""What this node reports of itself, and whether the loss of one node would cost no call. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from okitoki_agents.edge.agent.media import Sessions
from okitoki_agents.edge.facts import SERVICES

ANNOTATION = "platform.oki-toki.net/edge-status"
DRAIN = "platform.oki-toki.net/drain"
"""Annotation of a pod, by the operator: its node is to be serviced (decision 16)."""
HOLDS_SIP_LABEL = "platform.oki-toki.net/holds-sip"
NEEDED = (*SERVICES, "redis", "keepalived")
"""Services without which this node could not take everything."""
NEEDED_BY_PEER = "tunnel"
"""Without it the other node does not learn of calls here, and cannot use a relay here; what is here goes on."""
HOLDABLE = ("sip", "https", "media-1", "media-2")
SESSIONS_TOLERANCE = 2
"""Calls that start or end between two looks."""
SESSIONS_TOLERANCE_SHARE = 0.05


@dataclass(frozen=True)
class Node:
    """One node of the pair. sessions: by engine, "1" and "2"; an engine that does not answer is missing. comings: how
    often each address has come to this node since its guard started. trunks, landlines: what it knows of them
    (`trunks.Trunk.document` by host, `landline_mode.State.document` by tenant), of the peer unchecked. drained:
    somebody wants to service it."""

    holds: tuple[str, ...] = ()
    services: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, Sessions] = field(default_factory=dict)
    comings: Mapping[str, int] = field(default_factory=dict)
    trunks: Mapping[str, Any] = field(default_factory=dict)
    landlines: Mapping[str, Any] = field(default_factory=dict)
    drained: bool = False
    tunnel_keys: str = ""
    """Generation of the tunnel's keys that its agent knows (`tunnel_keys.TunnelKeys`)."""


@dataclass(frozen=True)
class Peer:
    """The other node as this one sees it now."""

    address: str
    answers: bool
    ready: bool
    node: Node


def parse_guard_status(document: Any) -> Node:
    """Holdings and services of the guard's status.json; a node without both when it is not of its form."""
    if not isinstance(document, Mapping):
        return Node()
    holds, services, comings = document.get("holds"), document.get("services"), document.get("comings", {})
    if not isinstance(holds, list) or not isinstance(services, Mapping) or not isinstance(comings, Mapping):
        return Node()
    return Node(
        holds=tuple(name for name in HOLDABLE if name in holds),
        services={str(name): str(state) for name, state in services.items()},
        comings={name: comings[name] for name in HOLDABLE if isinstance(comings.get(name), int)},
    )


def node_document(node: Node, ready: bool) -> dict[str, Any]:
    """What this node tells its peer."""
    return {
        "ready": ready,
        "trunks": dict(node.trunks),
        "landlines": dict(node.landlines),
        "holds": list(node.holds),
        "services": dict(node.services),
        "sessions": {name: {"own": counts.own, "foreign": counts.foreign} for name, counts in node.sessions.items()},
        "comings": dict(node.comings),
        "drained": node.drained,
        "tunnelKeys": node.tunnel_keys,
    }


def parse_node_document(document: Any) -> tuple[Node, bool]:
    """The peer's `node_document`. Raises ValueError, KeyError, TypeError when it is not one."""
    node = parse_guard_status(document)
    sessions = {
        str(name): Sessions(own=int(counts["own"]), foreign=int(counts["foreign"]))
        for name, counts in document["sessions"].items()
    }
    found = replace(
        node,
        sessions=sessions,
        trunks=document.get("trunks") or {},
        landlines=document.get("landlines") or {},
        drained=document.get("drained") is True,
        tunnel_keys=str(document.get("tunnelKeys") or ""),
    )
    return found, bool(document["ready"])


def unready(node: Node, guard_alive: bool, routes_published: bool, haproxy_error: str | None) -> list[str]:
    """Why this node could not take all addresses now; empty: it is ready."""
    reasons = [f"{name} is {node.services.get(name, 'unknown')}" for name in NEEDED if node.services.get(name) != "ok"]
    if not guard_alive:
        reasons.append("the guard is not running")
    if not routes_published:
        reasons.append("Kamailio has not loaded the routes")
    if haproxy_error is not None:
        reasons.append(f"HAProxy: {haproxy_error.splitlines()[0][:200]}")
    return reasons


def drained_because(own: Node, peer: Peer | None) -> tuple[frozenset[str], list[str]]:
    """What a node that is to be serviced leaves to its peer, and why it protects nobody. It leaves nothing to a peer
    that could not take everything, nor to one that is to be serviced too: calls come first."""
    if not own.drained:
        return frozenset(), []
    if peer is None or not peer.answers or not peer.ready:
        return frozenset(), ["this node is drained, and serves on while the peer could not take everything"]
    if peer.node.drained:
        return frozenset(), ["this node is drained, and serves on because the peer is drained too"]
    return frozenset(HOLDABLE), ["this node is drained"]


def lacking_calls(own: Node, peer: Node) -> list[str]:
    """Engines whose standby does not hold the calls of the active one, in words.

    The engine with the address counts its calls as own, its twin counts the same ones as foreign (they come by Redis).
    A standby that knows more than there is (calls whose end it missed) protects all the same: after a takeover they end
    by the media time-out.
    """
    found = []
    for engine in ("1", "2"):
        here, there = own.sessions.get(engine), peer.sessions.get(engine)
        if here is None or there is None:
            found.append(f"rtpengine-{engine} does not tell its calls")
            continue
        active_here = f"media-{engine}" in own.holds
        active, standby = (here.own, there.foreign) if active_here else (there.own, here.foreign)
        if active - standby > max(SESSIONS_TOLERANCE, SESSIONS_TOLERANCE_SHARE * max(active, standby)):
            found.append(f"media-{engine}: {active} calls, {standby} of them known to the standby")
    return found


def unprotected(own: Node, peer: Peer | None, own_redis: bool, peer_redis: bool, lacking: list[str]) -> list[str]:
    """Why the loss of the node that carries calls would cost some; empty: protected."""
    needed = (*NEEDED, NEEDED_BY_PEER)
    reasons = [f"{name} is {own.services.get(name, 'unknown')}" for name in needed if own.services.get(name) != "ok"]
    if not own_redis:
        reasons.append("Redis of this node does not answer")
    if peer is None:
        return [*reasons, "the peer is not known"]
    if not peer.answers:
        return [*reasons, f"the peer's agent at {peer.address} does not answer"]
    if not peer.ready:
        reasons.append(f"the peer at {peer.address} is not ready")
    if not peer_redis:
        reasons.append("Redis of the peer does not answer")
    reasons += [f"{name} is on both nodes" for name in HOLDABLE if name in own.holds and name in peer.node.holds]
    return reasons + lacking


def moved(before: tuple[Node, Node | None], after: tuple[Node, Node | None]) -> bool:
    """Whether an address has moved between two looks at both nodes, even if it is back where it was. A guard that has
    started anew counts from nought, which is no news of an address."""

    def more(old: Node | None, new: Node | None) -> bool:
        old, new = old or Node(), new or Node()
        return any(new.comings.get(name, 0) > count for name, count in old.comings.items())

    return any(more(old, new) for old, new in zip(before, after, strict=True))


def moves(before: tuple[str, ...], after: tuple[str, ...], since: Mapping[str, int], now: float) -> dict[str, int]:
    """When each address came to this node or left it, in epoch seconds; nothing of those it has not had."""
    changed = set(before) ^ set(after)
    return {**since, **dict.fromkeys(sorted(changed), int(now))}


def annotation(
    node: Node,
    since: Mapping[str, int],
    peer: str | None,
    peer_answers: bool,
    unprotected_because: list[str],
    routes: Mapping[str, str | None],
    dead_letters: int,
    certificate: str | None,
    authorities: list[str],
) -> dict[str, Any]:
    """The document of the pod's annotation `platform.oki-toki.net/edge-status`; nothing in it changes at rest. Of
    trunks and landlines only the node with the SIP address speaks."""
    speaks = "sip" in node.holds
    return {
        "landlines": dict(node.landlines) if speaks else {},
        "trunks": dict(sorted(node.trunks.items())) if speaks else {},
        "holds": list(node.holds),
        "since": dict(sorted(since.items())),
        "comings": dict(sorted(node.comings.items())),
        "services": dict(sorted(node.services.items())),
        "peer": peer,
        "peerAnswers": peer_answers,
        "drained": node.drained,
        "protected": not unprotected_because,
        "unprotectedBecause": [_without_counts(reason) for reason in unprotected_because],
        "routes": dict(sorted(routes.items())),
        "deadLetters": dead_letters,
        "certificate": certificate,
        "authorities": authorities,
    }


def _without_counts(reason: str) -> str:
    """Counts of calls change all the time, and each change would be a write to the API server."""
    return f"{reason.split(':')[0]}: the standby lacks calls" if reason.startswith("media-") else reason
