"""Which server is taken for stuck, and when its data may be thrown away: every combination."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okitoki_agents.database.decisions import Store
from okitoki_agents.database.standstill import (
    AGAIN,
    SETTLED_SECONDS,
    STUCK_SECONDS,
    Here,
    Mark,
    Signs,
    Standstill,
    Upstream,
    decide,
    watch,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ME, OTHER, LEADER = "postgres-2", "postgres-1", "postgres-0"
STORE = Store(LEADER, 10, LEADER, frozenset({OTHER}), 7, paused=False)
STUCK = Here(streaming=False, in_recovery=None, fenced=False, still=STUCK_SECONDS)
UPSTREAM = Upstream(True, frozenset({OTHER}), frozenset({OTHER}))


def test_a_stuck_member_whose_data_all_the_others_have_is_made_anew() -> None:
    found = decide(ME, STUCK, STORE, UPSTREAM, None, NOW)
    assert found.yes
    assert found.reason == "postgres-2 has made no progress for 180 s, and all its data are on others"


def test_so_is_a_standby_that_answers_and_does_not_stream() -> None:
    assert decide(ME, replace(STUCK, in_recovery=True), STORE, UPSTREAM, None, NOW).yes


OBSTACLES = [
    ("streams", {"here": replace(STUCK, streaming=True)}),
    ("no standby", {"here": replace(STUCK, in_recovery=False)}),
    ("progress", {"here": replace(STUCK, still=STUCK_SECONDS - 1)}),
    ("cut", {"here": replace(STUCK, fenced=True)}),
    ("is the primary", {"store": replace(STORE, leader=ME, sync_leader=ME)}),
    ("is the primary", {"store": replace(STORE, leader=None, sync_leader=ME)}),
    ("nobody holds the lock", {"store": replace(STORE, leader=None)}),
    ("paused", {"store": replace(STORE, paused=True)}),
    ("switchover", {"store": replace(STORE, switchover=True)}),
    ("all members stop", {"store": replace(STORE, stopping=True)}),
    ("synchronous key", {"store": replace(STORE, sync_leader=OTHER)}),
    ("synchronous key", {"store": replace(STORE, sync_leader=None)}),
    ("is a voter", {"store": replace(STORE, voters=frozenset({OTHER, ME}))}),
    ("only 0 other members", {"store": replace(STORE, voters=frozenset())}),
    ("only 1 other members", {"store": replace(STORE, synchronous=2)}),
    ("does not tell", {"upstream": None}),
    ("takes no writes", {"upstream": replace(UPSTREAM, primary=False)}),
    ("is connected", {"upstream": replace(UPSTREAM, connected=frozenset({OTHER, ME}))}),
    ("only 0 other members", {"upstream": replace(UPSTREAM, synchronous=frozenset())}),
    ("made anew 29 min ago", {"mark": Mark(ME, NOW - timedelta(minutes=29, seconds=59))}),
    ("postgres-3 is being made anew", {"mark": Mark("postgres-3", NOW)}),
]


@pytest.mark.parametrize(("reason", "changed"), OBSTACLES, ids=[f"{n}-{one[0]}" for n, one in enumerate(OBSTACLES)])
def test_each_obstacle_alone_is_enough_and_is_named(reason: str, changed: dict[str, object]) -> None:
    given_: dict[str, object] = {"here": STUCK, "store": STORE, "upstream": UPSTREAM, "mark": None, **changed}
    found = decide(ME, now=NOW, **given_)  # type: ignore[arg-type]
    assert not found.yes
    assert reason in found.reason


def test_another_that_was_made_anew_and_is_back_is_no_obstacle_nor_one_that_never_came_back() -> None:
    assert decide(ME, STUCK, STORE, UPSTREAM, Mark(OTHER, NOW), NOW).yes
    assert decide(ME, STUCK, STORE, UPSTREAM, Mark("postgres-3", NOW - AGAIN), NOW).yes
    assert decide(ME, STUCK, STORE, UPSTREAM, Mark(ME, NOW - AGAIN), NOW).yes


def situations() -> Iterator[tuple[Here, Store, Upstream | None, Mark | None]]:
    """All combinations of everything that the decision looks at, for clusters whose commits wait for one or two."""
    members = [ME, OTHER, "postgres-3"]
    sets = [frozenset(some) for size in range(4) for some in itertools.combinations(members, size)]
    heres = [
        Here(streaming, recovery, fenced, still)
        for streaming in (False, True)
        for recovery in (None, False, True)
        for fenced in (False, True)
        for still in (0.0, STUCK_SECONDS)
    ]
    upstreams = [
        None,
        *(Upstream(primary, one, one & two) for primary in (False, True) for one in sets for two in sets),
    ]
    stores = [
        Store(leader, 1, sync_leader, voters, 1, paused, switchover, stopping, synchronous)
        for leader in (None, LEADER, ME)
        for sync_leader in (None, LEADER, ME)
        for voters in sets
        for paused, switchover, stopping in (
            (False,) * 3,
            (True, False, False),
            (False, True, False),
            (False, False, True),
        )
        for synchronous in (1, 2)
    ]
    marks = [None, *(Mark(member, NOW - age) for member in (ME, OTHER, "postgres-3") for age in (timedelta(0), AGAIN))]
    # What is here is looked at first and alone; the rest with a server that is stuck.
    yield from ((here, STORE, UPSTREAM, None) for here in heres)
    yield from itertools.product([STUCK], stores, upstreams, marks[:1])
    yield from itertools.product([STUCK], stores[:: len(stores) // 60 or 1], upstreams, marks)


def test_nothing_is_ever_thrown_away_that_somebody_may_need() -> None:
    yes = 0
    for here, store, upstream, mark in situations():
        if not decide(ME, here, store, upstream, mark, NOW).yes:
            continue
        yes += 1
        assert store.leader not in (None, ME), "never the primary, never without one"
        assert here.in_recovery is not False
        assert here.still >= STUCK_SECONDS
        assert not here.streaming
        assert not here.fenced, "never a server that stands still because a primary is being replaced"
        assert (store.paused, store.switchover, store.stopping) == (False, False, False)
        assert upstream is not None
        assert upstream.primary
        assert ME not in store.voters | upstream.connected
        holders = {store.leader} | (store.voters & upstream.synchronous)
        assert len(holders) > store.synchronous, "a quorum of others has the latest writes"
        assert mark is None or mark.at <= NOW - AGAIN or mark.member in upstream.connected, "never two at once"
    assert yes > 0


LOOK = 10.0


def looks(*seen: Signs) -> Standstill:
    found: Standstill | None = None
    for number, signs in enumerate(seen):
        found = watch(found, signs, number * LOOK)
    assert found is not None
    return found


def working(done: int, age: float = SETTLED_SECONDS, pid: int = 7) -> Signs:
    return Signs(work={(pid, 1): (age, done)})


def test_a_server_on_which_nothing_moves_stands_still_since_the_first_look() -> None:
    assert looks(*[Signs({"segment": 5}, 100, {(7, 1): (99.0, 4)})] * 5).since == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Signs({"received": 1}), Signs({"received": 2})),
        (Signs({}), Signs({"replayed": 2})),
        (Signs({"segment": 5}), Signs({"segment": 6})),
        (Signs(bytes=1), Signs(bytes=2)),
        (Signs(bytes=2), Signs(bytes=1)),
        (working(1), working(2)),
    ],
    ids=["received", "replayed for the first time", "segment", "a clone grows", "a clone begins", "work"],
)
def test_progress_of_any_kind_counts(before: Signs, after: Signs) -> None:
    assert looks(before, before, after).since == 2 * LOOK


def test_a_server_that_is_started_and_fails_for_ever_makes_no_progress() -> None:
    """The same WAL again and again, by a new process each time, which works and comes no further."""
    lives = [
        Signs({"segment": segment}, 100, {(pid, pid): (3.0 * segment, 1000 * segment)})
        for pid in range(20)
        for segment in (1, 2, 3)
    ]
    assert looks(*lives).since == 2 * LOOK


def test_what_cannot_be_read_for_a_moment_is_no_progress_when_it_is_back() -> None:
    known = Signs({"received": 5, "checkpoint": 3}, 1)
    assert looks(known, Signs({}, 1), known).since == 0


@given(st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=30))
def test_only_a_position_beyond_all_earlier_ones_counts(positions: list[int]) -> None:
    found = looks(*(Signs({"received": one}) for one in positions))
    assert found.since == LOOK * positions.index(max(positions))


@given(st.lists(st.integers(min_value=1, max_value=2**40), min_size=2, max_size=30))
def test_a_clone_or_a_replay_however_slow_never_stands_still(steps: list[int]) -> None:
    grown = list(itertools.accumulate(steps))
    last = LOOK * (len(steps) - 1)
    assert looks(*(Signs(bytes=one) for one in grown)).since == last
    assert looks(*(working(one) for one in grown)).since == last
    assert looks(*(Signs({"replayed": one}) for one in grown)).since == last
