"""Whether this server is a standby that gets nowhere and is made anew: pure (docs/decisions/0022).

Patroni looks whether a server must be rewound before it starts it, or when it answers; one that waits for ever for WAL
that nobody has is never looked at again ("Still starting up as a standby."). Time alone proves nothing: a clone,
a crash recovery or a rewind may take hours. So progress is measured, and only a server without any is taken for stuck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from okitoki_agents.database.decisions import Store, Verdict

STUCK_SECONDS = 180.0
"""Without any progress for this long a standby is stuck."""
SETTLED_SECONDS = 30.0
"""Work of a younger process is none: one that is started, fails and is started again works for ever."""
AGAIN = timedelta(minutes=30)
"""A member is made anew at most this often; another one may be, although the first is not back, after this long."""


@dataclass(frozen=True)
class Signs:
    """What can be seen of a server that is not in order, each part empty where it cannot be.

    `positions`: of WAL and of replay, as numbers; getting on means to pass the furthest one seen. `bytes`: of the data
    directory's tables and WAL, which a clone changes. `work`: what each process that works on the directory has read
    and written so far, by its identity (pid and start time) with its age in seconds.
    """

    positions: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    work: Mapping[tuple[int, int], tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Standstill:
    """Since when (s, monotonic) nothing has moved, and what was seen up to then."""

    since: float
    signs: Signs
    furthest: Mapping[str, int]


def watch(before: Standstill | None, signs: Signs, now: float) -> Standstill:
    """The standstill with another look taken; its `since` is `now` when something has moved."""
    if before is None:
        return Standstill(now, signs, dict(signs.positions))
    furthest = {
        name: max(before.furthest.get(name, -1), signs.positions.get(name, -1))
        for name in before.furthest.keys() | signs.positions.keys()
    }
    moved = furthest != before.furthest or signs.bytes != before.signs.bytes or _worked(before.signs, signs)
    return Standstill(now if moved else before.since, signs, furthest)


def _worked(before: Signs, after: Signs) -> bool:
    return any(
        age >= SETTLED_SECONDS and one in before.work and done > before.work[one][1]
        for one, (age, done) in after.work.items()
    )


@dataclass(frozen=True)
class Here:
    """This server: whether it streams, whether it is a standby (None: it does not answer), whether it is fenced, and
    for how long (s) nothing has moved."""

    streaming: bool
    in_recovery: bool | None
    fenced: bool
    still: float


@dataclass(frozen=True)
class Upstream:
    """The primary's own word: whether it is one, which standbys are connected, and which of these count for commits."""

    primary: bool
    connected: frozenset[str]
    synchronous: frozenset[str]


@dataclass(frozen=True)
class Mark:
    """Who was made anew last, and when: at most one member at a time."""

    member: str
    at: datetime


def decide(me: str, here: Here, store: Store, upstream: Upstream | None, mark: Mark | None, now: datetime) -> Verdict:
    """Whether this server's data are thrown away and copied from the primary. `upstream`: None when it does not say."""
    for obstacle in (
        _not_stuck(me, here, store),
        _not_now(here, store),
        _data_needed(me, store, upstream),
        _another(me, upstream, mark, now),
    ):
        if obstacle:
            return Verdict(False, obstacle)
    return Verdict(True, f"{me} has made no progress for {here.still:.0f} s, and all its data are on others")


def _not_stuck(me: str, here: Here, store: Store) -> str | None:
    if me in (store.leader, store.primary):
        return f"{me} is the primary"
    if here.in_recovery is False:
        return f"the server of {me} is no standby"
    if here.streaming:
        return f"{me} streams"
    if here.still < STUCK_SECONDS:
        return f"{me} does not stream; it last made progress {here.still:.0f} s ago"
    return None


def _not_now(here: Here, store: Store) -> str | None:
    if store.leader is None:
        return "nobody holds the lock: there is nothing to copy from"
    if store.paused:
        return "Patroni is paused"
    if store.switchover:
        return "Patroni carries out a switchover"
    if store.stopping:
        return "all members stop"
    if here.fenced:
        return "the stream is cut: a primary is being replaced"
    return None


def _data_needed(me: str, store: Store, upstream: Upstream | None) -> str | None:
    if store.sync_leader != store.leader:
        return f"the synchronous key is not {store.leader}'s, so it does not tell who has the latest writes"
    if me in store.voters:
        return f"{me} is a voter: what it has may be needed"
    if upstream is None:
        return f"{store.leader} does not tell who is connected to it"
    if not upstream.primary:
        return f"{store.leader} has the lock but takes no writes yet"
    if me in upstream.connected:
        return f"{me} is connected to {store.leader}"
    others = store.voters & upstream.synchronous
    if len(others) < store.synchronous:
        return (
            f"besides {store.leader} only {len(others)} other members have the latest writes, {store.synchronous} must"
        )
    return None


def _another(me: str, upstream: Upstream | None, mark: Mark | None, now: datetime) -> str | None:
    if mark is None or now - mark.at >= AGAIN:
        return None
    minutes = max(0, int((now - mark.at).total_seconds() // 60))
    if mark.member == me:
        return f"{me} was made anew {minutes} min ago"
    if upstream is None or mark.member not in upstream.connected:
        return f"{mark.member} is being made anew, begun {minutes} min ago"
    return None
