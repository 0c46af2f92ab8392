"""A model of early replacement: whatever agents believe, in whatever order things happen, nothing acknowledged is lost
and no two servers can acknowledge.

The model has a primary P and two or three standbys, each with its Patroni and its agent. What agents *see* is left out
on purpose: in the model they may take P for dead at any time, and agree at any time. So safety rests on the cuts, the
comparisons and the rules for lifting alone, which are the product's own functions. WAL is a number: how much a server
has. Any step may happen at any time, be delayed behind others or not happen at all: a comparison that an agent has
given up may be carried out by the API server long after. Members join and leave the vote, the number of standbys that
a commit waits for changes (the operator scales), pods are replaced, P loses its lock and takes it again.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from okitoki_agents.database import decisions
from okitoki_agents.database.decisions import Choice, Confirmation, Fence, Lift, Local, Position, Store

P, VOTERS, JOINING = "p", ("v1", "v2"), "v3"
STANDBYS = (*VOTERS, JOINING)


@dataclass
class Standby:
    name: str
    received: int = 0
    fence: Fence | None = None
    upstream: str = P
    promoting: bool = False
    promoted: bool = False
    acknowledged: int = 0
    """What its last reply to P said, which may be still on its way."""
    race: dict[str, int] | None = None
    """A race that its Patroni runs: what it and the other voters had when asked."""
    seen: int = 0
    """Which state of the store its agent has seen last."""


@dataclass
class Attempt:
    """One agent's attempt, step by step; `store` is what it has read."""

    agent: str
    number: int
    store: Store
    confirmed: dict[str, Confirmation] = field(default_factory=dict)
    settled: bool = False


Rules = tuple[
    Callable[[Store, str, int, Mapping[str, Confirmation]], Choice],
    Callable[[str, Fence, Store, Local], tuple[Lift, str]],
]


class Model:
    rules_used: Rules = (decisions.choose, decisions.lift)
    settles = True
    fence_outlives_pod = True
    """The fence is on the member's volume."""
    renews_before_key = True
    """A Patroni that has taken its lock again leaves the key alone until it has renewed the lock (patroni_main.py)."""
    raises_before_joining = True
    """Patroni lets a standby that is no voter yet count only together with one more that a commit waits for."""

    def __init__(self, standbys: tuple[str, ...] = STANDBYS) -> None:
        self.choose, self.lift = self.rules_used
        self.store = Store(P, 1, P, frozenset(VOTERS), 2, paused=False)
        self.history = [self.store]
        self.version = 2
        self.wal = 0
        self.acknowledged = 0
        self.names_of_p, self.waits_for = frozenset(VOTERS), 1
        """P's synchronous_standby_names, and how many of them a commit waits for."""
        self.heard = dict.fromkeys(standbys, 0)
        """What each standby has confirmed to P."""
        self.p_serves = True
        self.p_loaded: int | None = None
        """The synchronous key's version that P's Patroni has loaded in its present loop."""
        self.p_renewed = self.p_taken = False
        self.standbys = {name: Standby(name) for name in standbys}
        self.attempts: dict[str, Attempt] = {}
        self.count = 0
        self.late: list[tuple[str, int]] = []
        """Hand-overs that the API server has not carried out yet, although their agents have given them up: to whom,
        and the version that is compared."""

    # The store

    def put(self, **changes: Any) -> None:
        self.store = replace(self.store, **changes)
        self.history.append(self.store)

    def next(self) -> int:
        self.version += 1
        return self.version

    # P: PostgreSQL and Patroni

    def write(self) -> None:
        if not (self.p_serves):
            return
        self.wal += 1

    def take_reply(self, name: str) -> None:
        if not (self.p_serves):
            return
        self.heard[name] = max(self.heard[name], self.standbys[name].acknowledged)
        confirmed = sorted((self.heard[one] for one in self.names_of_p), reverse=True)
        self.acknowledged = max(self.acknowledged, confirmed[self.waits_for - 1])

    def p_loads(self) -> None:
        self.p_loaded, self.p_renewed = self.store.sync_version, False

    def p_renews(self) -> None:
        if not (self.p_loaded is not None):
            return
        if self.store.leader == P:
            self.put(leader=P, leader_version=self.next())
            self.p_renewed = True
        elif self.store.leader is not None:
            self.p_serves = False

    def p_takes_again(self) -> None:
        """A lock that was free, or too old: Patroni takes it and then loads the key, the other way round."""
        if self.p_serves and self.store.leader in (None, P):
            self.put(leader=P, leader_version=self.next())
            self.p_loaded, self.p_renewed = None, False
            self.p_taken = True

    def p_loads_after_taking(self) -> None:
        if self.p_taken:
            self.p_loaded, self.p_renewed, self.p_taken = self.store.sync_version, not self.renews_before_key, False

    def p_admits(self, name: str) -> None:
        if not (self.p_renewed and self.p_serves):
            return
        if self.p_loaded == self.store.sync_version and self.store.sync_leader == P:
            self.put(voters=self.store.voters | {name}, sync_version=self.next())
            self.p_loaded = self.store.sync_version

    def p_waits_for_the_voters(self) -> None:
        """synchronous_standby_names follows the key; the key was ours a moment ago."""
        if not (self.p_renewed and self.p_serves):
            return
        if self.p_loaded == self.store.sync_version and self.store.sync_leader == P:
            self.names_of_p = self.store.voters
            self.waits_for = min(self.waits_for, len(self.names_of_p))

    def p_raises(self, name: str) -> None:
        """The operator scales up: PostgreSQL waits for one more, then the key has it (quorum.py, __add_new_nodes)."""
        if self.p_renewed and self.p_serves and name not in self.names_of_p:
            self.names_of_p |= {name}
            self.waits_for += self.raises_before_joining

    def p_lowers(self) -> None:
        """The operator scales down: once the key has everyone who counts."""
        if self.p_renewed and self.p_serves and self.waits_for > 1 and self.names_of_p <= self.store.voters:
            self.waits_for -= 1

    def p_drops(self, name: str) -> None:
        """PostgreSQL first, then the key; the other way round where a commit waits for all."""
        if not (self.p_renewed and self.p_serves):
            return
        if len(self.names_of_p - {name}) < self.waits_for:
            if len(self.store.voters - {name}) > 0 and self._key_is_loaded():
                self.put(voters=self.store.voters - {name}, sync_version=self.next())
                self.p_loaded = self.store.sync_version
        elif self.names_of_p - {name} and self.store.sync_leader == P and self.names_of_p <= self.store.voters:
            self.names_of_p -= {name}
            if self.p_loaded == self.store.sync_version:
                self.put(voters=self.names_of_p, sync_version=self.next())
                self.p_loaded = self.store.sync_version

    def _key_is_loaded(self) -> bool:
        return self.p_loaded == self.store.sync_version and self.store.sync_leader == P

    def p_stops(self) -> None:
        """In good order: the lock goes when PostgreSQL has stopped."""
        self.p_serves = False
        if self.store.leader == P:
            self.put(leader=None, leader_version=self.next())

    # Standbys: PostgreSQL and Patroni

    def stream(self, name: str) -> None:
        standby = self.standbys[name]
        if standby.fence is None and standby.upstream == P and not standby.promoted:
            standby.received = self.wal

    def reply(self, name: str) -> None:
        standby = self.standbys[name]
        if standby.fence is None and standby.upstream == P and not standby.promoted:
            standby.acknowledged = standby.received

    def race_begins(self, name: str) -> None:
        """Patroni asks every voter for its position."""
        if self.store.leader is None and not self.standbys[name].promoted:
            asked = self.store.voters | {name}
            self.standbys[name].race = {one: self.standbys[one].received for one in asked if one in self.standbys}

    def race_ends(self, name: str) -> None:
        standby = self.standbys[name]
        if standby.race is None or self.store.leader is not None:
            standby.race = None
            return
        if self.store.voters <= set(standby.race) and standby.race[name] == max(standby.race.values()):
            self.lead(name)
        standby.race = None

    def follow(self, name: str) -> None:
        """Patroni points the server to the lock's holder."""
        if self.store.leader in self.standbys and self.store.leader != name:
            self.standbys[name].upstream = str(self.store.leader)
        elif self.store.leader == P:
            self.standbys[name].upstream = P

    def promote(self, name: str) -> None:
        standby = self.standbys[name]
        if standby.promoting and standby.fence is None:
            standby.promoting, standby.promoted = False, True

    def pod_is_replaced(self, name: str) -> None:
        """A new pod with the same volume; its agent begins with what the API server has now. Not while it promotes."""
        standby = self.standbys[name]
        standby.race, standby.seen = None, len(self.history) - 1
        if not self.fence_outlives_pod:
            standby.fence = None

    # Agents

    def attempt_begins(self, agent: str) -> None:
        if self.store.primary == P and self.store.sync_leader == P and agent not in self.attempts:
            self.count += 1
            self.attempts[agent] = Attempt(agent, self.count, self.store)

    def cut(self, agent: str, voter: str) -> None:
        attempt, standby = self.attempts.get(agent), self.standbys[voter]
        if attempt is None or voter not in attempt.store.voters or standby.promoted:
            return
        version = attempt.store.leader_version
        seen = self.history[standby.seen]
        if seen.primary != P or seen.leader_version > version:
            return  # `consent`
        attempts = frozenset({str(attempt.number)})
        if standby.fence is not None:
            attempts, version = standby.fence.attempts | attempts, max(version, standby.fence.version)
        standby.fence = Fence(P, P, version, attempts)
        attempt.confirmed[voter] = Confirmation(attempt.store.leader_version, Position(1, standby.received), True)

    def settle(self, agent: str) -> None:
        attempt = self.attempts.get(agent)
        if attempt is None or attempt.settled:
            return
        if not self.settles:
            attempt.settled = True
        elif self.store.sync_version == attempt.store.sync_version:
            self.put(sync_version=self.next())
            attempt.settled = True
            attempt.store = replace(attempt.store, voters=self.store.voters, sync_version=self.store.sync_version)
        else:
            self.withdraw(attempt)

    def hand_over(self, agent: str) -> None:
        attempt = self.attempts.get(agent)
        if attempt is None or not attempt.settled:
            return
        winner = self.choose(attempt.store, P, attempt.store.leader_version, attempt.confirmed).winner
        if winner is not None and self.store.leader_version == attempt.store.leader_version:
            self.lead(winner)
            del self.attempts[agent]
        else:
            self.withdraw(attempt)

    def times_out(self, agent: str) -> None:
        """The API server has the comparison and does not answer: it may still be carried out. Nobody withdraws."""
        attempt = self.attempts.get(agent)
        if attempt is None or not attempt.settled:
            return
        winner = self.choose(attempt.store, P, attempt.store.leader_version, attempt.confirmed).winner
        if winner is not None:
            self.late.append((winner, attempt.store.leader_version))
            del self.attempts[agent]

    def arrives(self) -> None:
        if self.late:
            winner, version = self.late.pop(0)
            if self.store.leader_version == version:
                self.lead(winner)

    def lead(self, winner: str) -> None:
        """The winner has the lock; its Patroni takes the synchronous key over and orders the promotion."""
        self.put(leader=winner, leader_version=self.next(), sync_leader=winner, sync_version=self.next())
        self.standbys[winner].promoting = True

    def agent_dies(self, agent: str) -> None:
        """Its attempt is over; nobody withdraws. Its own server's fence stays: it is in a file."""
        self.attempts.pop(agent, None)

    def withdraw(self, attempt: Attempt) -> None:
        del self.attempts[attempt.agent]
        for standby in self.standbys.values():
            if standby.fence is not None:
                standby.fence = replace(standby.fence, attempts=standby.fence.attempts - {str(attempt.number)})

    def watch(self, name: str, steps: int) -> None:
        """The agent's watch brings some of what has happened, late but in order."""
        standby = self.standbys[name]
        standby.seen = min(len(self.history) - 1, standby.seen + steps)

    def tend(self, name: str) -> None:
        self._tend(name, running=True)

    def tend_stopped(self, name: str) -> None:
        """Its server does not run: it was stopped, or the gate has not let it start."""
        self._tend(name, running=False)

    def _tend(self, name: str, *, running: bool) -> None:
        standby = self.standbys[name]
        if standby.fence is None:
            return
        local = Local(running, standby.upstream, promoting=running and standby.promoting, stopping=False)
        if self.lift(name, standby.fence, self.history[standby.seen], local)[0] is Lift.LIFT:
            standby.fence = None

    # What must hold

    def nothing_acknowledged_is_lost(self) -> None:
        for standby in self.standbys.values():
            assert not standby.promoted or standby.received >= self.acknowledged

    def one_primary_at_most_is_promoted(self) -> None:
        assert sum(standby.promoted for standby in self.standbys.values()) <= 1


STEPS = 200
RUNS = 3000
# How often each step is taken; those that come together in a replacement oftener, or most walks would end nowhere.
WEIGHTS = {
    "write": 3, "take_reply": 6, "p_loads": 1, "p_renews": 1, "p_admits": 1, "p_waits_for_the_voters": 1, "p_drops": 1,
    "stream": 6, "reply": 6, "race_begins": 9, "race_ends": 9, "follow": 3, "promote": 9, "attempt_begins": 9,
    "p_stops": 0.5, "cut": 24, "settle": 9, "hand_over": 9, "agent_dies": 1, "watch": 5, "tend": 6, "tend_stopped": 2,
    "p_raises": 0.5, "p_lowers": 0.5, "p_takes_again": 0.5, "p_loads_after_taking": 2, "pod_is_replaced": 1,
    "times_out": 3, "arrives": 2,
}  # fmt: skip
PARAMETERS = {step: list(inspect.signature(getattr(Model, step)).parameters)[1:] for step in WEIGHTS}


def take(model: Model, step: str, *given: Any) -> None:
    """One step; raises AssertionError when it breaks a promise."""
    getattr(model, step)(*given)
    model.nothing_acknowledged_is_lost()
    model.one_primary_at_most_is_promoted()


def walks(model: type[Model]) -> int:
    """Histories of random steps; returns how many of them came to a promotion."""
    promoted = 0
    for seed in range(RUNS):
        chance = random.Random(seed)
        names = STANDBYS[: chance.choice((2, 3))]
        walker = model(names)
        for step in chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=STEPS):
            take(
                walker,
                step,
                *(chance.randint(0, 3) if one == "steps" else chance.choice(names) for one in PARAMETERS[step]),
            )
        promoted += any(standby.promoted for standby in walker.standbys.values())
    return promoted


def test_no_order_of_events_loses_an_acknowledged_write_or_makes_two_primaries() -> None:
    assert walks(Model) > RUNS / 20, "the walks hardly ever come to a promotion, so they show nothing"


def one_voter_is_enough(store: Store, primary: str, version: int, confirmed: Mapping[str, Confirmation]) -> Choice:
    """A fault: as if quorum commit alone made an early promotion safe."""
    return decisions.choose(replace(store, voters=frozenset(confirmed)), primary, version, confirmed)


def the_first_voter(store: Store, primary: str, version: int, confirmed: Mapping[str, Confirmation]) -> Choice:
    """A fault: any voter that is cut is as good as another."""
    same = {name: replace(one, position=Position(1, 0)) for name, one in confirmed.items()}
    return decisions.choose(store, primary, version, same)


def lifted_when_handed_over(me: str, fence: Fence, store: Store, local: Local) -> tuple[Lift, str]:
    """A fault: the loser's stream flows as soon as the old primary has lost its lock."""
    if store.leader != fence.primary:
        return Lift.LIFT, "the lock is not the old primary's"
    return decisions.lift(me, fence, store, local)


def lifted_by_the_clock(me: str, fence: Fence, store: Store, local: Local) -> tuple[Lift, str]:
    """A fault: a time-out ends the cut."""
    return Lift.LIFT, "time is up"


@pytest.mark.parametrize(
    "faulty",
    [
        (one_voter_is_enough, decisions.lift),
        (the_first_voter, decisions.lift),
        (decisions.choose, lifted_when_handed_over),
        (decisions.choose, lifted_by_the_clock),
    ],
    ids=lambda pair: next(one.__name__ for one in pair if one.__module__ == __name__),
)
def test_the_model_catches_a_rule_that_is_not_safe(faulty: Rules) -> None:
    class Faulty(Model):
        rules_used = faulty

    with pytest.raises(AssertionError):
        walks(Faulty)


def a_voter_is_admitted_late(model: Model) -> None:
    """The voters are read while only v1 is one; P, which has renewed its lock before that, then admits v2."""
    for step in (
        ("p_loads",), ("p_renews",), ("p_drops", "v2"), ("attempt_begins", "v1"), ("cut", "v1", "v1"),
        ("p_admits", "v2"), ("p_waits_for_the_voters",), ("settle", "v1"), ("hand_over", "v1"),
        ("write",), ("stream", "v2"), ("reply", "v2"), ("watch", "v1", 3), ("watch", "v1", 3),
        ("tend", "v1"), ("promote", "v1"), ("take_reply", "v2"),
    ):  # fmt: skip
        take(model, *step)


CUT_BOTH = (("attempt_begins", "v1"), ("cut", "v1", "v1"), ("cut", "v1", "v2"), ("settle", "v1"))
V2_HAS_MORE = (("write",), ("stream", "v2"), ("reply", "v2"), ("take_reply", "v2"))
V1_PROMOTES = (("watch", "v1", 3), ("watch", "v1", 3), ("tend", "v1"), ("promote", "v1"))


def a_voter_is_a_new_pod(model: Model) -> None:
    """Both are cut. The hand-over is given up and still on its way when the pod of v2 is replaced; P lives."""
    for step in (*CUT_BOTH, ("times_out", "v1"), ("pod_is_replaced", "v2"), *V2_HAS_MORE, ("arrives",), *V1_PROMOTES):
        take(model, *step)


def the_lock_is_taken_again(model: Model) -> None:
    """P takes its lock again and is slow. v1, the only voter of that version, is cut; P loads the key as settled since,
    without another renewal of the lock, and admits v2."""
    for step in (
        ("p_loads",), ("p_renews",), ("p_drops", "v2"), ("p_takes_again",),
        ("attempt_begins", "v1"), ("cut", "v1", "v1"), ("settle", "v1"),
        ("p_loads_after_taking",), ("p_admits", "v2"), ("p_waits_for_the_voters",),
        *V2_HAS_MORE, ("hand_over", "v1"), *V1_PROMOTES,
    ):  # fmt: skip
        take(model, *step)


def one_joins_before_it_is_a_voter(model: Model) -> None:
    """PostgreSQL counts v3, the key does not have it yet: with one more to wait for, v3 alone can't acknowledge."""
    for step in (
        ("p_loads",), ("p_renews",), ("p_raises", "v3"), *CUT_BOTH,
        ("write",), ("stream", "v3"), ("reply", "v3"), ("take_reply", "v3"), ("hand_over", "v1"), *V1_PROMOTES,
    ):  # fmt: skip
        take(model, *step)


@pytest.mark.parametrize(
    ("history", "guard"),
    [
        (a_voter_is_a_new_pod, "fence_outlives_pod"),
        (the_lock_is_taken_again, "renews_before_key"),
        (one_joins_before_it_is_a_voter, "raises_before_joining"),
    ],
)
def test_a_history_is_safe_because_of_its_guard(history: Callable[[Model], None], guard: str) -> None:
    model = Model()
    history(model)
    assert any(standby.promoted for standby in model.standbys.values()) or guard == "fence_outlives_pod"
    faulty = type("Faulty", (Model,), {guard: False})
    with pytest.raises(AssertionError):
        history(faulty())


def test_voters_settled_before_the_hand_over_leave_no_room_for_a_late_one() -> None:
    a_voter_is_admitted_late(Model())


def test_the_model_catches_voters_that_are_not_settled_before_the_hand_over() -> None:
    class Faulty(Model):
        settles = False

    with pytest.raises(AssertionError):
        a_voter_is_admitted_late(Faulty())
