"""What agents conclude. That the rules are safe together is shown by test_model.py; here: each rule, and its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from okitoki_agents.database.decisions import (
    ATTEMPT_SECONDS,
    CONSENT,
    GRACE_SECONDS,
    PATRONI_SECONDS,
    REFUSED_SECONDS,
    SILENT_SECONDS,
    STALE_SECONDS,
    TURN_SECONDS,
    Asked,
    Confirmation,
    Fence,
    Health,
    Lift,
    Local,
    Position,
    Sight,
    Step,
    Store,
    choose,
    consent,
    judge,
    lift,
    plan,
    stale,
)

STORE = Store("postgres-0", 10, "postgres-0", frozenset({"postgres-1", "postgres-2"}), 7, paused=False)
WELL = Sight(0.0, 100.0, None, "", 100.0, 100.0, 0.0)
DEAD = Health(True, 50.0, "PostgreSQL has been silent for 2.0 s")
ALIVE = Health(False, 50.0, "PostgreSQL and Patroni answer")
FENCE = Fence("postgres-0", "10.0.0.1", 10, frozenset({"postgres-1/1"}))
STANDBY = Local(running=True, upstream="10.0.0.1", promoting=False, stopping=False)


def test_a_server_that_answers_is_well() -> None:
    assert not judge(WELL, 100.2).dead


def test_a_silent_server_is_dead_after_its_limit_and_not_before() -> None:
    still = replace(WELL, patroni=200.0)
    assert not judge(still, 100.0 + SILENT_SECONDS - 0.01).dead
    found = judge(still, 100.0 + SILENT_SECONDS)
    assert found.dead
    assert "silent" in found.reason


def test_a_server_known_to_be_gone_has_less_time_than_a_silent_one() -> None:
    gone = replace(WELL, broken=100.1, problem="PostgreSQL refuses connections")
    assert not judge(gone, 100.1 + REFUSED_SECONDS - 0.01).dead
    assert judge(gone, 100.1 + REFUSED_SECONDS + 0.01).reason.startswith("PostgreSQL refuses connections")
    assert REFUSED_SECONDS < SILENT_SECONDS


def test_a_prober_that_did_not_run_blames_nobody_for_that_time() -> None:
    assert not judge(replace(WELL, stalled=1.0), 100.0 + SILENT_SECONDS + 0.9).dead
    gone = replace(WELL, broken=100.0, problem="x", stalled=1.0)
    assert not judge(gone, 100.0 + REFUSED_SECONDS + 0.9).dead


def test_a_frozen_patroni_is_dead_only_when_its_lock_is_not_renewed_either() -> None:
    now = 100.0 + PATRONI_SECONDS
    serving = replace(WELL, answered=now)
    assert judge(serving, now).dead
    assert not judge(replace(serving, renewed=now - 1), now).dead, "cut off from us, not from the store"
    assert not judge(replace(serving, patroni=now - 1), now).dead, "cut off from the store, not from us"


def test_a_new_holder_of_the_lock_has_time_to_promote() -> None:
    new = Sight(100.0, None, None, "", None, 100.0, 0.0)
    assert not judge(new, 100.0 + GRACE_SECONDS + SILENT_SECONDS - 0.01).dead
    assert judge(new, 100.0 + GRACE_SECONDS + SILENT_SECONDS).dead
    refusing = replace(new, broken=100.1, problem="PostgreSQL refuses connections")
    assert not judge(refusing, 100.0 + GRACE_SECONDS + REFUSED_SECONDS - 0.01).dead
    assert judge(refusing, 100.0 + GRACE_SECONDS + REFUSED_SECONDS + 0.01).dead


def test_who_is_asked_agrees_a_little_earlier_than_it_would_act() -> None:
    now = 100.0 + SILENT_SECONDS * CONSENT
    assert judge(WELL, now, CONSENT).dead
    assert not judge(WELL, now).dead


@pytest.mark.parametrize(
    ("store", "health", "words"),
    [
        (replace(STORE, leader=None, sync_leader=None), DEAD, "no primary yet"),
        (replace(STORE, leader="postgres-1"), DEAD, "this server is the primary"),
        (replace(STORE, leader=None, sync_leader="postgres-1"), DEAD, "this server is the primary"),
        (replace(STORE, leader=None, switchover=True), DEAD, "carries out a switchover"),
        (STORE, ALIVE, "is well"),
        (replace(STORE, paused=True), DEAD, "paused"),
        (replace(STORE, stopping=True), DEAD, "all members stop"),
        (replace(STORE, sync_leader="postgres-2"), DEAD, "does not tell the voters"),
        (replace(STORE, voters=frozenset({"postgres-2"})), DEAD, "no voter"),
    ],
)
def test_nothing_is_done(store: Store, health: Health, words: str) -> None:
    found = plan("postgres-1", store, health, 60.0)
    assert found.step is Step.NOTHING
    assert words in found.reason


def test_the_voters_act_one_after_the_other() -> None:
    assert plan("postgres-1", STORE, DEAD, 50.0).step is Step.REPLACE
    assert plan("postgres-1", replace(STORE, leader=None), DEAD, 50.0).step is Step.REPLACE, "the lock is free"
    assert plan("postgres-2", STORE, DEAD, 50.0).step is Step.WAIT
    assert plan("postgres-2", STORE, DEAD, 50.0 + TURN_SECONDS).step is Step.REPLACE


def test_an_attempt_that_is_under_way_is_waited_for_but_not_for_ever() -> None:
    asked = Asked("postgres-1/4", 50.5)
    found = plan("postgres-2", STORE, DEAD, 50.0 + TURN_SECONDS, asked)
    assert (found.step, found.reason) == (Step.WAIT, "postgres-0 is to be replaced; postgres-1 is at it")
    assert plan("postgres-2", STORE, DEAD, 50.5 + ATTEMPT_SECONDS, asked).step is Step.REPLACE


@pytest.mark.parametrize(
    ("me", "store", "version", "health", "words"),
    [
        ("postgres-0", STORE, 10, DEAD, "lives"),
        ("postgres-2", replace(STORE, leader="postgres-1"), 10, DEAD, "the lock is postgres-1's here"),
        ("postgres-2", STORE, 9, DEAD, "renewed"),
        ("postgres-2", STORE, 10, ALIVE, "well seen from postgres-2"),
    ],
)
def test_an_agent_refuses_to_cut_on_anothers_word(
    me: str, store: Store, version: int, health: Health, words: str
) -> None:
    found = consent(me, "postgres-0", version, store, health, planned=False)
    assert not found.yes
    assert words in found.reason


def test_an_agent_that_sees_the_death_too_agrees() -> None:
    assert consent("postgres-2", "postgres-0", 10, STORE, DEAD, planned=False).yes
    assert consent("postgres-2", "postgres-0", 10, STORE, ALIVE, planned=True).yes, "the primary hands over itself"


@pytest.mark.parametrize(
    ("store", "confirmed", "words"),
    [
        (STORE, {"postgres-1": 10}, "postgres-2 could still acknowledge"),
        (STORE, {"postgres-1": 10, "postgres-2": 9}, "postgres-2 could still acknowledge"),
        (replace(STORE, voters=frozenset()), {}, "no voter"),
        (replace(STORE, leader="postgres-1"), {"postgres-1": 10, "postgres-2": 10}, "the lock has changed"),
        (replace(STORE, leader_version=11), {"postgres-1": 10, "postgres-2": 10}, "the lock has changed"),
        (replace(STORE, sync_leader="postgres-2"), {"postgres-1": 10, "postgres-2": 10}, "postgres-2's"),
    ],
)
def test_the_lock_stays(store: Store, confirmed: dict[str, int], words: str) -> None:
    words_given = {name: Confirmation(version, Position(1, 500), patroni=True) for name, version in confirmed.items()}
    found = choose(store, "postgres-0", 10, words_given)
    assert found.winner is None
    assert words in found.reason


def test_the_lock_goes_to_the_voter_that_has_most_when_every_voter_has_cut_for_this_version_of_it() -> None:
    less, more = Position(1, 500), Position(1, 501)
    given = {"postgres-1": Confirmation(10, less, patroni=True), "postgres-2": Confirmation(10, more, patroni=True)}
    assert choose(STORE, "postgres-0", 10, given).winner == "postgres-2"


@pytest.mark.parametrize(
    ("store", "fence", "local", "expected"),
    [
        (replace(STORE, leader=None), FENCE, STANDBY, Lift.HOLD),
        (STORE, FENCE, STANDBY, Lift.HOLD),
        (replace(STORE, leader_version=11), FENCE, STANDBY, Lift.LIFT),
        (replace(STORE, leader_version=9), FENCE, STANDBY, Lift.HOLD),
        (STORE, replace(FENCE, attempts=frozenset()), STANDBY, Lift.LIFT),
        (replace(STORE, leader="postgres-2"), FENCE, STANDBY, Lift.HOLD),
        (replace(STORE, leader="postgres-2"), FENCE, replace(STANDBY, upstream=None), Lift.HOLD),
        (replace(STORE, leader="postgres-2"), FENCE, replace(STANDBY, upstream="10.0.0.3"), Lift.LIFT),
        (replace(STORE, leader="postgres-1"), FENCE, STANDBY, Lift.HOLD),
        (replace(STORE, leader="postgres-1"), FENCE, replace(STANDBY, promoting=True), Lift.LIFT),
        (replace(STORE, leader="postgres-2"), FENCE, replace(STANDBY, stopping=True), Lift.LET_DIE),
        (replace(STORE, leader=None), FENCE, replace(STANDBY, stopping=True), Lift.LET_DIE),
        (replace(STORE, leader="postgres-2"), FENCE, replace(STANDBY, running=False), Lift.HOLD),
        (replace(STORE, leader="postgres-2"), FENCE, Local(False, "10.0.0.3", False, False), Lift.LIFT),
        (replace(STORE, leader=None), FENCE, replace(STANDBY, running=False), Lift.HOLD),
        (replace(STORE, leader=None, leader_version=11), FENCE, STANDBY, Lift.HOLD),
        (replace(STORE, leader=None, leader_version=11), FENCE, replace(STANDBY, running=False), Lift.LIFT),
    ],
    ids=[
        "released, nobody leads", "the removal may still come", "renewed", "an old view", "all have withdrawn",
        "another leads, we still point to the old one", "another leads, we point to nobody", "we point to the new one",
        "we lead, not told to promote yet", "we promote", "we are stopped", "we are stopped, nobody leads",
        "we do not run and would point to the old one", "we do not run and would point to the new one",
        "nobody runs, the removal may still come", "given up since, we run and may be raced for",
        "all stopped while we were cut off",
    ],
)  # fmt: skip
def test_a_fence_is_lifted_by_what_is_known_and_never_by_time(
    store: Store, fence: Fence, local: Local, expected: Lift
) -> None:
    assert lift("postgres-1", fence, store, local)[0] is expected


def test_a_primary_without_its_lock_is_stopped_when_patroni_does_nothing_about_it() -> None:
    lost = replace(STORE, leader="postgres-1")
    assert stale("postgres-0", lost, True, 0.0, STALE_SECONDS).yes
    assert not stale("postgres-0", lost, True, 0.0, STALE_SECONDS - 0.1).yes
    assert not stale("postgres-0", lost, False, 0.0, 99.0).yes, "a standby already, or it does not run"
    assert not stale("postgres-0", STORE, True, 0.0, 99.0).yes, "it has the lock"
    assert not stale("postgres-0", replace(STORE, leader=None), True, 0.0, 99.0).yes, "nobody has it"
