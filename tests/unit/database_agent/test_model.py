"""A model of early replacement: whatever agents believe, in whatever order things happen, nothing acknowledged is lost
and no two servers can acknowledge.

The model has a primary P and two standbys, each with its Patroni and its agent. What agents *see* is left out on
purpose: in the model they may take P for dead at any time, and agree at any time. So safety rests on the cuts, the
comparisons and the rules for lifting alone, which are the product's own functions. WAL is a number: how much a server
has. Any step may happen at any time, be delayed behind others or not happen at all.
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

P, STANDBYS = "p", ("v1", "v2")


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

    def __init__(self) -> None:
        self.choose, self.lift = self.rules_used
        self.store = Store(P, 1, P, frozenset(STANDBYS), 2, paused=False)
        self.history = [self.store]
        self.version = 2
        self.wal = 0
        self.acknowledged = 0
        self.names_of_p = frozenset(STANDBYS)
        """P's synchronous_standby_names."""
        self.p_serves = True
        self.p_loaded: int | None = None
        """The synchronous key's version that P's Patroni has loaded in its present loop."""
        self.p_renewed = False
        self.standbys = {name: Standby(name) for name in STANDBYS}
        self.attempts: dict[str, Attempt] = {}
        self.count = 0

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
        if name in self.names_of_p:
            self.acknowledged = max(self.acknowledged, self.standbys[name].acknowledged)

    def p_loads(self) -> None:
        self.p_loaded, self.p_renewed = self.store.sync_version, False

    def p_renews(self) -> None:
        if not (self.p_loaded is not None):
            return
        if self.store.leader == P or (self.store.leader is None and self.p_serves):
            self.put(leader=P, leader_version=self.next())
            self.p_renewed = True
        else:
            self.p_serves = False

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

    def p_drops(self, name: str) -> None:
        """PostgreSQL first, then the key."""
        if not (self.p_renewed and self.p_serves):
            return
        if self.names_of_p - {name} and self.store.sync_leader == P:
            self.names_of_p -= {name}
            if self.p_loaded == self.store.sync_version:
                self.put(voters=self.names_of_p, sync_version=self.next())
                self.p_loaded = self.store.sync_version

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
        standby = self.standbys[name]
        if standby.fence is None:
            return
        local = Local(True, standby.upstream, promoting=standby.promoting, stopping=False)
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
    "p_stops": 0.5, "cut": 24, "settle": 9, "hand_over": 9, "agent_dies": 1, "watch": 5, "tend": 6,
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
        chance, walker = random.Random(seed), model()
        for step in chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=STEPS):
            take(
                walker,
                step,
                *(chance.randint(0, 3) if one == "steps" else chance.choice(STANDBYS) for one in PARAMETERS[step]),
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


def test_voters_settled_before_the_hand_over_leave_no_room_for_a_late_one() -> None:
    a_voter_is_admitted_late(Model())


def test_the_model_catches_voters_that_are_not_settled_before_the_hand_over() -> None:
    class Faulty(Model):
        settles = False

    with pytest.raises(AssertionError):
        a_voter_is_admitted_late(Faulty())
