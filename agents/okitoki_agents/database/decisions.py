"""What an agent concludes: pure functions, each with the reason for its result (docs/decisions/0008: why it is safe).

A primary is replaced early only when every voter that could complete a quorum with it has cut its stream from it and
confirmed; then the lock is compared and given to the voter that has most. Otherwise Patroni's TTL decides. Times are
seconds of the monotonic clock; versions are resourceVersions of the API server, which grow with every change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

REFUSED_SECONDS = 0.4
"""A server known to be gone (connection refused or closed, recovering from a crash) has this long to be back."""
SILENT_SECONDS = 1.5
"""A server that says nothing at all has this long. As long as the app gives one attempt (docs/interfaces.md)."""
PATRONI_SECONDS = 6.0
"""A Patroni that neither answers nor renews its lock has this long: two of its loops. PostgreSQL serves meanwhile."""
GRACE_SECONDS = 2.0
"""A new holder of the lock has this much longer: it promotes, and is probed for the first time."""
CONSENT = 0.6
"""A voter that is asked by another one agrees at this fraction of the limits: its own probes run in another phase."""
TURN_SECONDS = 0.6
"""The second voter waits this long for the first to act, the third twice as long. Acting at once would be safe too."""
ATTEMPT_SECONDS = 3.0
"""So long another voter's attempt that has asked for the cut here is let be: two at once cut twice and lift late."""
STALE_SECONDS = 6.0
"""A primary without the lock whose Patroni does nothing about it has this long."""


@dataclass(frozen=True)
class Sight:
    """What one agent knows of the server that holds the lock.

    `answered`: when PostgreSQL was asked what it answered last, None if it never answered as holder. `broken`: since
    when it has been known to be gone, None if it is not. `stalled`: seconds since `answered` during which this agent
    itself did not run, which nobody else can be blamed for. `patroni`, `renewed`: when Patroni answered last, and when
    its lock was last seen renewed.
    """

    since: float
    answered: float | None
    broken: float | None
    problem: str
    patroni: float | None
    renewed: float
    stalled: float


@dataclass(frozen=True)
class Health:
    """Whether a server is taken for dead, since when, and why."""

    dead: bool
    since: float
    reason: str


def judge(sight: Sight, now: float, patience: float = 1.0) -> Health:
    """Whether the lock's holder is dead. `patience` scales the limits (see CONSENT)."""
    started = sight.since + GRACE_SECONDS if sight.answered is None else max(sight.answered, sight.since)
    if sight.broken is not None:
        gone_since = max(sight.broken, started) if sight.answered is None else sight.broken
        gone = now - gone_since - sight.stalled
        if gone >= REFUSED_SECONDS * patience:
            return Health(True, gone_since + REFUSED_SECONDS, f"{sight.problem} for {gone:.1f} s")
    silent = now - started - sight.stalled
    if silent >= SILENT_SECONDS * patience:
        return Health(True, started + SILENT_SECONDS, f"PostgreSQL has been silent for {silent:.1f} s")
    last = max(sight.renewed, sight.since, sight.patroni if sight.patroni is not None else sight.since)
    frozen = now - last - sight.stalled
    if frozen >= PATRONI_SECONDS * patience:
        return Health(True, last + PATRONI_SECONDS, f"Patroni has not answered nor renewed its lock for {frozen:.1f} s")
    return Health(False, now, "PostgreSQL and Patroni answer")


@dataclass(frozen=True)
class Store:
    """Patroni's ConfigMaps as last seen. A version of 0 means that the object is not there.

    `switchover`: somebody has asked Patroni for one, and named who is to follow. `stopping`: the operator is about to
    stop all members. `synchronous`: how many voters a commit waits for.
    """

    leader: str | None
    leader_version: int
    sync_leader: str | None
    voters: frozenset[str]
    sync_version: int
    paused: bool
    switchover: bool = False
    stopping: bool = False
    synchronous: int = 1

    @property
    def primary(self) -> str | None:
        """Whose the lock is; when it is free, whose it was: the server that the voters belong to."""
        return self.leader or self.sync_leader


class Step(Enum):
    NOTHING = "nothing"
    WAIT = "wait"
    REPLACE = "replace"


@dataclass(frozen=True)
class Plan:
    step: Step
    reason: str


@dataclass(frozen=True)
class Asked:
    """The last attempt (`AGENT/NUMBER`) of another agent that asked for the cut here, and when."""

    attempt: str
    at: float


NEVER_ASKED = Asked("", float("-inf"))


def plan(me: str, store: Store, health: Health, now: float, asked: Asked = NEVER_ASKED) -> Plan:
    """What this agent does about the lock's holder."""
    primary = store.primary
    if primary is None:
        return Plan(Step.NOTHING, "there is no primary yet")
    if primary == me:
        return Plan(Step.NOTHING, "this server is the primary")
    if not health.dead:
        return Plan(Step.NOTHING, f"{primary} is well: {health.reason}")
    if store.stopping:
        return Plan(Step.NOTHING, f"{primary} is gone ({health.reason}), but all members stop: nobody is to take over")
    if store.paused or store.switchover:
        why = "is paused" if store.paused else "carries out a switchover"
        return Plan(Step.NOTHING, f"{primary} is to be replaced ({health.reason}), but Patroni {why}")
    if store.sync_leader != primary:
        return Plan(Step.NOTHING, f"the synchronous key is not {primary}'s, so it does not tell the voters")
    if me not in store.voters:
        return Plan(Step.NOTHING, f"{me} is no voter ({_names(store.voters)}): the latest write may not be here")
    turn = sorted(store.voters).index(me) * TURN_SECONDS
    if now < health.since + turn:
        return Plan(Step.WAIT, f"{primary} is to be replaced; {sorted(store.voters)[0]} acts first")
    if now < asked.at + ATTEMPT_SECONDS:
        return Plan(Step.WAIT, f"{primary} is to be replaced; {asked.attempt.partition('/')[0]} is at it")
    return Plan(Step.REPLACE, f"{primary} is to be replaced: {health.reason}")


@dataclass(frozen=True)
class Verdict:
    yes: bool
    reason: str


def consent(me: str, primary: str, leader_version: int, store: Store, health: Health, *, planned: bool) -> Verdict:
    """Whether this agent cuts its server's stream because another agent asks. It believes its own eyes only, unless
    the primary itself hands over (`planned`).

    `store` may be older than what the other one has read, never the base of more than a refusal: what counts is
    `leader_version`, to which the confirmation is bound.
    """
    if me == primary:
        return Verdict(False, f"{me} is that primary, and lives")
    if store.primary != primary:
        return Verdict(False, f"the lock is {store.leader}'s here, not {primary}'s")
    if store.leader_version > leader_version:
        return Verdict(False, "the lock has been renewed since")
    if planned:
        return Verdict(True, f"{primary} hands over")
    if not health.dead:
        return Verdict(False, f"{primary} is well seen from {me}: {health.reason}")
    return Verdict(True, f"{primary} is dead seen from {me} too: {health.reason}")


@dataclass(frozen=True, order=True)
class Position:
    """How much a server has: the timeline it received, and the last byte of WAL that it has on its disk."""

    timeline: int
    byte: int


@dataclass(frozen=True)
class Confirmation:
    """A voter's word that its stream is cut: for which version of the lock, and what it has for good.

    `patroni`: whether its Patroni answers, which would have to promote it.
    """

    version: int
    position: Position
    patroni: bool


@dataclass(frozen=True)
class Choice:
    """Who gets the lock, or None, and why."""

    winner: str | None
    reason: str


def choose(
    store: Store, primary: str, leader_version: int, confirmed: Mapping[str, Confirmation], to: str | None = None
) -> Choice:
    """Who may have the lock. `store` is as the hand-over will compare it, `confirmed` is voter -> what it confirmed.
    `to`: only this one will do; it gets the lock no more easily than if nobody had been named.

    The synchronous key has just been compared and set, so Patroni on the primary can admit no other voter without first
    renewing its lock, whose version the hand-over compares. What the primary acknowledged, some voter has; as all of
    them are cut, the one that has most has everything, and will have.
    """
    if store.primary != primary or store.leader_version != leader_version:
        return Choice(None, f"the lock has changed: {store.leader} at {store.leader_version}")
    if store.sync_leader != primary:
        return Choice(None, f"the synchronous key is {store.sync_leader}'s")
    if not store.voters:
        return Choice(None, "there is no voter: nobody is known to have the latest write")
    valid = {name: one for name, one in confirmed.items() if one.version == leader_version}
    if missing := store.voters - set(valid):
        return Choice(None, f"{_names(missing)} could still acknowledge to {primary}")
    most = max(valid[voter].position for voter in store.voters)
    ahead = sorted(voter for voter in store.voters if valid[voter].position == most)
    able = [voter for voter in ahead if valid[voter].patroni]
    if not able:
        return Choice(None, f"Patroni does not answer on {', '.join(ahead)}, which alone may have the latest write")
    if to is not None and to not in able:
        return Choice(None, f"{to} lacks writes that {', '.join(ahead)} has, or its Patroni does not answer")
    winner = to or able[0]
    return Choice(winner, f"{_names(store.voters)} are cut off from {primary}, and none has more than {winner}")


@dataclass(frozen=True)
class Fence:
    """The cut of this server's stream: from whom, for which versions of the lock, and who relies on it.

    Several agents may have asked; `attempts` are those that have not withdrawn. `version` is the highest they named.
    """

    primary: str
    host: str
    version: int
    attempts: frozenset[str]


@dataclass(frozen=True)
class Local:
    """This server at this moment. `upstream`: the address its recovery would stream from, as configured now (of a
    server that does not run: on its next start).

    `promoting`: the promotion's signal waits for the startup process; `stopping`: a shutdown's signal does.
    """

    running: bool
    upstream: str | None
    promoting: bool
    stopping: bool


class Lift(Enum):
    """What becomes of a fence; LET_DIE: the startup process goes on, to end, but no server may start yet."""

    HOLD = "hold"
    LET_DIE = "let die"
    LIFT = "lift"


def lift(me: str, fence: Fence, store: Store, local: Local) -> tuple[Lift, str]:
    """Whether the stream may flow again. Never for the passing of time alone.

    A hand-over of the lock compares `fence.version`; with the lock at a higher version and still the old primary's, it
    can't succeed any more.
    """
    if store.leader is None and not local.running and store.leader_version > fence.version:
        # Else members that all stopped while they were cut off would all wait for one of them to take the lock.
        return Lift.LIFT, f"{fence.primary} has given its lock up since the cut"
    if store.leader is None:
        return (Lift.LET_DIE if local.stopping else Lift.HOLD), "nobody holds the lock"
    if store.leader == fence.primary:
        if store.leader_version > fence.version:
            return Lift.LIFT, f"{fence.primary} has its lock still: renewed since the cut"
        if not fence.attempts:
            return Lift.LIFT, f"{fence.primary} keeps its lock: everyone who wanted to move it has withdrawn"
        return Lift.HOLD, f"{fence.primary}'s lock may be moved at any moment"
    if not local.running:
        if local.upstream == fence.host:
            return Lift.HOLD, f"a server started here would stream from {fence.primary}"
        return Lift.LIFT, f"{store.leader} holds the lock, and no server runs here"
    if local.stopping:
        return Lift.LET_DIE, "the server here is being stopped"
    if store.leader == me:
        if local.promoting:
            return Lift.LIFT, "this server is being promoted"
        return Lift.HOLD, "this server has the lock; its promotion is awaited"
    if local.upstream not in (None, fence.host):
        return Lift.LIFT, f"the stream will come from {store.leader} at {local.upstream}"
    return Lift.HOLD, f"{store.leader} holds the lock, but the stream would come from {fence.primary}"


def stale(me: str, store: Store, serves: bool, since: float | None, now: float) -> Verdict:
    """Whether the server here must be stopped: a primary (`serves`) whose lock another has had since `since`.

    Patroni does that itself, at once; this is for a Patroni that hangs.
    """
    if not serves or store.leader in (None, me) or since is None:
        return Verdict(False, "no primary without its lock")
    if now - since < STALE_SECONDS:
        return Verdict(False, f"{store.leader} has the lock; Patroni has time until {STALE_SECONDS:.0f} s have passed")
    return Verdict(True, f"{store.leader} has had the lock for {now - since:.0f} s; the server here is a primary still")


def _names(members: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(members)) or "nobody"
