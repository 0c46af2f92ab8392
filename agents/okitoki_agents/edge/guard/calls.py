"""Which of a media engine's calls are out of step between the two nodes' Redis and the engine. Pure.

A node's Redis holds the calls that its engine owns, as rtpengine writes them (JSON, daemon/redis.c); the other node's
engine follows it. When an address moves and comes back within a second, or is on both nodes for a moment, each engine
may have been told something that the other has not.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_INDEXES = ("in_srtp_index", "in_srtcp_index", "out_srtp_index", "out_srtcp_index")

Calls = Mapping[str, bytes]
"""Call-ID -> the call as a Redis holds it."""


@dataclass(frozen=True)
class Known:
    """What is known of a call. `signalled`: epoch second of its last signalling, or of its claim by an engine, which
    counts as such; `endpoints`: the phones' ports, by stream."""

    signalled: int = -1
    endpoints: tuple[tuple[str, str], ...] = ()

    def better_than(self, other: Known) -> bool:
        """A call gains endpoints when it is answered, so more of them are later knowledge, whatever the clocks and
        claims say; among equally many, other ones that were signalled later."""
        if len(self.endpoints) != len(other.endpoints):
            return len(self.endpoints) > len(other.endpoints)
        return self.endpoints != other.endpoints and self.signalled > other.signalled


def known(document: bytes | None) -> Known:
    """Of a call in Redis; nothing when there is none or it cannot be read."""
    try:
        call: Any = json.loads(document or b"")
        signalled = int(call["json"]["last_signal"])
    except (ValueError, KeyError, TypeError):
        return Known()
    endpoints = (
        (name, str(stream.get("endpoint", ":0")))
        for name, stream in sorted(call.items())
        if name.startswith("stream-") and isinstance(stream, Mapping)
    )
    return Known(signalled, tuple(entry for entry in endpoints if entry[1] and not entry[1].endswith(":0")))


def encrypted(here: Calls) -> bool:
    """Whether the audio of any call is SRTP: then its keys are there."""
    return any(b'"-master_key"' in document for document in here.values())


def with_indexes(document: bytes) -> bytes | None:
    """The document of an encrypted call as a standby must read it; None when there is nothing to add.

    An engine writes how far the sequence numbers of each source have come (SRTP's packet indexes) by stream, and reads,
    in 12.5, only the one list for all streams that older ones wrote. A source comes in on one stream and goes out on
    another, so the greater of its numbers is the one that counts.
    """
    if b'"-master_key"' not in document:
        return None
    call: dict[str, Any] = json.loads(document)
    sources: dict[str, dict[str, Any]] = {}
    for name, table in call.items():
        if name.startswith("ssrc_table-"):
            for entry in table:
                known = sources.setdefault(entry["ssrc"], dict(entry))
                for index in _INDEXES:
                    known[index] = max(known[index], entry[index], key=int)
    if not sources:
        return None
    return json.dumps(call | {"ssrc_table": list(sources.values())}, separators=(",", ":")).encode()


def better_there(engine: Collection[str], here: Calls, there: Calls, since: float) -> list[str]:
    """Calls that the engine has and of which `there` knows more than `here`, from what happened after `since` (epoch
    seconds). What was before has come by replication; and a call that the engine does not have has ended."""
    theirs = {call: known(there[call]) for call in set(engine) & set(there)}
    return sorted(
        call for call, one in theirs.items() if one.signalled >= since and one.better_than(known(here.get(call)))
    )


def unheard(met: Collection[str], there: Calls, since: float) -> list[str]:
    """Calls of `there` that the engine has not met since the address came (`met`): signalled after `since` (epoch
    seconds), when word of them can still have been on its way or have been missed. One that ended here before it was
    looked at is among them; the engine ends it anew for want of packets."""
    return sorted(call for call in set(there) - set(met) if known(there[call]).signalled >= since)


def released(held: bool, peer_says: bool | None) -> tuple[bool, str]:
    """Whether this node's knowledge of the calls gives way to the peer's, and why.

    That the address is not here does not mean that it is there: two starved nodes may both have lost it. Calls that are
    kept harm nobody meanwhile: only the node with the address gets packets. `held`: the address is here; `peer_says`:
    the peer has said, since it is not, that it has it and has written its calls; None: its Redis does not answer.
    """
    if held:
        return False, "the address is here"
    if peer_says is None:
        return False, "the peer's Redis does not answer"
    if not peer_says:
        return False, "the peer does not say that it has the address"
    return True, "the peer says that it has the address"


@dataclass(frozen=True)
class Tidying:
    """What brings a Redis and an engine in step, one of which follows the other.

    `lacking`: calls that the follower does not have; `ended`: calls that it keeps although they have ended; `doubted`:
    calls that look so, and count as ended if they still do at the next look.
    """

    lacking: tuple[str, ...]
    ended: tuple[str, ...]
    doubted: frozenset[str]


def tidying(follower: Collection[str], leader: Collection[str], doubted: Collection[str]) -> Tidying:
    """`doubted`: of the last look."""
    surplus = set(follower) - set(leader)
    return Tidying(
        lacking=tuple(sorted(set(leader) - set(follower))),
        ended=tuple(sorted(surplus & set(doubted))),
        doubted=frozenset(surplus - set(doubted)),
    )
