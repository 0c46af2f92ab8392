"""When a service is good, and when it is not: the state machine."""

from __future__ import annotations

from okitoki_agents.edge.guard.health import (
    HTTPS_MISSES,
    KILL_FROZEN_AFTER,
    KILL_MISSES,
    KILL_MUTE_AFTER,
    MISSES,
    Health,
    State,
    answered,
    ended,
    missed,
    must_be_killed,
    started,
)

SETTLE = 1.0


def good(now: float) -> Health:
    return answered(answered(started(now - 2), now - SETTLE, SETTLE), now, SETTLE)


def test_a_start_is_good_only_after_it_has_answered_for_a_while() -> None:
    health = started(10.0)
    assert health.state is State.STARTING
    health = answered(health, 12.0, SETTLE)
    assert health.state is State.STARTING
    assert answered(health, 12.9, SETTLE).state is State.STARTING
    assert answered(health, 13.0, SETTLE).state is State.OK


def test_a_miss_while_settling_begins_anew() -> None:
    health = missed(answered(started(10.0), 12.0, SETTLE), 12.5)
    health = answered(health, 13.0, SETTLE)
    assert health.state is State.STARTING
    assert answered(health, 14.0, SETTLE).state is State.OK


def test_three_misses_in_a_row_are_a_fault_and_two_are_not() -> None:
    health = good(10.0)
    for miss in range(MISSES - 1):
        health = missed(health, 10.1 + miss)
        assert health.state is State.OK
    assert answered(health, 10.5, SETTLE).misses == 0
    assert missed(health, 11.0).state is State.FROZEN


def test_what_nobody_hears_is_frozen_later() -> None:
    health = good(10.0)
    for _ in range(HTTPS_MISSES - 1):
        health = missed(health, 11.0, HTTPS_MISSES)
    assert health.state is State.OK
    assert missed(health, 11.0, HTTPS_MISSES).state is State.FROZEN


def test_a_frozen_service_that_wakes_must_settle_again() -> None:
    health = good(10.0)
    for _ in range(MISSES):
        health = missed(health, 11.0)
    health = answered(health, 12.0, SETTLE)
    assert health.state is State.STARTING
    assert not must_be_killed(health, 100.0)
    assert answered(health, 13.0, SETTLE).state is State.OK


def test_a_frozen_service_is_killed_after_a_while_and_not_at_once() -> None:
    health = good(10.0)
    for _ in range(KILL_MISSES):
        health = missed(health, 11.0)
    assert not must_be_killed(health, 11.0 + KILL_FROZEN_AFTER - 0.1)
    assert must_be_killed(health, 11.0 + KILL_FROZEN_AFTER)


def test_a_service_that_nobody_has_asked_meanwhile_is_not_killed() -> None:
    """A guard that got no processor either wakes, and finds that much time has gone by."""
    health = good(10.0)
    for _ in range(MISSES):
        health = missed(health, 11.0)
    assert not must_be_killed(health, 60.0)
    assert not must_be_killed(missed(started(10.0), 60.0), 60.0)


def test_a_service_that_never_answers_is_killed_late() -> None:
    health = started(10.0)
    for _ in range(KILL_MISSES):
        health = missed(health, 11.0)
    assert not must_be_killed(health, 10.0 + KILL_MUTE_AFTER - 1)
    assert must_be_killed(health, 10.0 + KILL_MUTE_AFTER)


def test_death_is_a_fault_from_any_state_and_an_old_answer_does_not_undo_it() -> None:
    dead = ended(11.0)
    assert dead.state is State.DOWN
    assert answered(dead, 11.1, SETTLE) == dead
    assert not must_be_killed(dead, 1000.0)
