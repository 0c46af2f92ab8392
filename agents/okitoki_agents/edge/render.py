"""Configuration files from the facts: each function returns a file's text, `install` puts it in its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.kamailio import RESTRICTED_REALM, TABLES

SILENCE_MS = 750
"""How long a phone may be silent to an INVITE, sent twice meanwhile, where its number has a landline."""
LAST_TRY_MS = 1700
"""Age of a call at which no further phone is tried before its landline: with SILENCE_MS and tm's timer (up to 0.2 s
late) it stays below the 3 s that were promised."""
SILENT_SECONDS = 10
"""How long a phone that was silent is passed over; a REGISTER of it ends that."""
DEAD_TRUNK_SECONDS = 60
"""How long Kamailio remembers that a trunk is dead; the agent says it again every few seconds."""
LOAD_SECONDS = 10
"""Age at which a count of calls is void, and every call is let in: an agent that is away must not close the region."""
RETRY_AFTER = 10
"""Seconds after which a caller that was refused for want of capacity may try again (RFC 3261, 20.33)."""
WRONG_BY_AGENT, WRONG_BY_SOURCE = 30, 300
"""Wrong passwords within a minute after which an agent, from that address, and everybody there is refused."""
_HOME_PRIORITY, _AWAY_PRIORITY = 150, 100
_HOME = {"sip": 0, "media-1": 0, "https": 1, "media-2": 1}
"""Address -> which of the two nodes is its home."""

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - not HTML
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Flood:
    """Packets of a kind (`what`, nft's words) that one source may send to the SIP address, a second and at once."""

    what: str
    rate: int
    burst: int


FLOODS = {
    "talkative": Flood("meta l4proto != tcp", 300, 2000),
    "connecting": Flood("tcp flags & (syn | ack) == syn", 100, 2000),
    "streaming": Flood("meta l4proto tcp", 3000, 20000),
}
"""What bounds a source that is no carrier. Sized for a site of a thousand phones behind one address, with a keep-alive
every two seconds (TCP and TLS) or fifteen (UDP), and a call a minute each. When its power comes back each connects,
sends two REGISTERs, and needs a dozen packets for it over TLS."""


def _render(template: str, facts: Facts, **values: Any) -> str:
    return _ENVIRONMENT.get_template(template).render(facts=facts, region=facts.region, paths=facts.paths, **values)


def redis(facts: Facts) -> str:
    return _render("redis.conf.j2", facts)


def rtpengine(facts: Facts, number: int) -> str:
    """`number`: 1 or 2, the media address; also the number of its Redis database."""
    index = number - 1
    return _render(
        "rtpengine.conf.j2",
        facts,
        number=number,
        address=facts.region.media[index],
        ng_port=facts.region.ports.ng[index],
        cli_port=facts.region.ports.cli[index],
        at_home=at_home(facts, f"media-{number}"),
    )


def kamailio(facts: Facts, server_id: int) -> str:
    """`server_id`: 1 to 2147483647, another one at each start of each node.

    Kamailio marks its commands to rtpengine by it, its pid and a counter. In containers two Kamailios have the same
    pids, and rtpengine answers a command whose mark it has seen in the last minute with the old answer.
    """
    return _render(
        "kamailio.cfg.j2",
        facts,
        tables=TABLES,
        restricted_realm=RESTRICTED_REALM,
        carrier_hosts=_carrier_hosts(facts),
        server_id=server_id,
        wrong_by_agent=WRONG_BY_AGENT,
        wrong_by_source=WRONG_BY_SOURCE,
        silence_ms=SILENCE_MS,
        last_try_ms=LAST_TRY_MS,
        silent_seconds=SILENT_SECONDS,
        load_seconds=LOAD_SECONDS,
        retry_after=RETRY_AFTER,
        dead_trunk_seconds=DEAD_TRUNK_SECONDS,
    )


def tls(facts: Facts) -> str:
    """Kamailio's TLS settings, in a file of their own because only such a one can be reloaded."""
    return _render("tls.cfg.j2", facts)


def keepalived(facts: Facts, interface: str, peer: str) -> str:
    """`peer`: the other node's address, or empty while none is known.

    Without a peer the adverts go to the peer's alias, which leads nowhere: an empty list would make them multicast.
    """
    return _render(
        "keepalived.conf.j2",
        facts,
        interface=interface,
        peer=peer or facts.region.peer_alias,
        priorities=priorities(facts),
        adverts=adverts(facts.region.advert_interval_ms),
    )


def adverts(interval_ms: int) -> tuple[str, int]:
    """VRRP's interval (seconds, hundredths of which it can say) and how many adverts must be missing for a takeover.

    The region's interval is that of RFC 5798, where a takeover comes after three to four of them. Adverts are sent 2.5
    times as often and eight must be missing: together 3.2 intervals. A takeover is no later, but a node may be silent
    for longer before it is taken for dead, since the silence does not begin with a long wait for the next advert.
    """
    often_ms = max(10, round(interval_ms * 0.04) * 10)
    return f"{often_ms / 1000:g}", round(interval_ms * 3.2 / often_ms)


def priorities(facts: Facts) -> dict[str, int]:
    """VRRP priority by address: SIP and the first media address are at home on the first node, the others not."""
    return {name: _HOME_PRIORITY if at_home(facts, name) else _AWAY_PRIORITY for name in _HOME}


def at_home(facts: Facts, name: str) -> bool:
    """Whether this node is the address's home."""
    return _HOME[name] == facts.ordinal % 2


def nftables(facts: Facts, interface: str, peer: str, *, plain: bool = False) -> str:
    """The guard's table; `interface` is the node's own, `peer` as for `keepalived`, `plain` as in `peer_is_plain`."""
    return _render(
        "nftables.nft.j2",
        facts,
        interface=interface,
        peer=peer,
        plain=plain,
        carrier_hosts=_carrier_hosts(facts),
        floods=FLOODS,
    )


def _carrier_hosts(facts: Facts) -> list[str]:
    return [host for carrier in facts.region.carriers for host in carrier.hosts]


def peer_of(facts: Facts) -> str:
    """The peer's address as the agent last wrote it, or empty."""
    try:
        return facts.paths.peer.read_text().strip()
    except FileNotFoundError:
        return ""


def peer_is_plain(facts: Facts) -> bool:
    """Whether the peer is an edge of a version without a tunnel."""
    try:
        return facts.paths.plain_peer.read_text().strip() == peer_of(facts) != ""
    except FileNotFoundError:
        return False


def install(path: Path, text: str) -> None:
    """Write atomically, readable by root only: most of these hold the Redis password."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
