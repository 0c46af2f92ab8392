"""Which member is the primary, what happens to connections, what a failure means, when the app is ready."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from callcentre.database.decisions import (
    REQUEST_DEADLINE,
    SILENCE,
    Answer,
    AttemptTimeoutError,
    CommitNotReplicatedError,
    ConnectError,
    Identity,
    Observation,
    Outcome,
    PoolAction,
    choose_primary,
    classify,
    pause_before_retry,
    pool_action,
    readiness,
)

NOW = 1000.0


def primary(timeline: int, age: float = 0.1) -> Observation:
    return Observation(Answer(NOW - age, in_recovery=False, timeline=timeline, started="1"))


def standby(age: float = 0.1) -> Observation:
    return Observation(Answer(NOW - age, in_recovery=True))


def test_the_only_claimant_is_the_primary() -> None:
    choice = choose_primary({"a": standby(), "b": primary(3), "c": Observation()}, NOW)
    assert choice.primary == "b"


def test_of_two_claimants_the_higher_timeline_wins_whatever_its_age() -> None:
    choice = choose_primary({"old": primary(3, age=0.0), "new": primary(4, age=1.0)}, NOW)
    assert choice.primary == "new"
    assert "timeline 4" in choice.reason


def test_on_one_timeline_the_latest_answer_wins() -> None:
    assert choose_primary({"a": primary(3, age=0.5), "b": primary(3, age=0.1)}, NOW).primary == "b"


def test_a_silent_primary_is_none_and_the_reason_names_everybody() -> None:
    choice = choose_primary({"a": primary(3, age=SILENCE), "b": standby(), "c": Observation()}, NOW)
    assert choice.primary is None
    assert "a: silent for 1.5 s" in choice.reason
    assert "b: standby" in choice.reason
    assert "c: has not answered yet" in choice.reason


def test_a_primary_whose_connection_broke_is_none_at_once() -> None:
    broken = Observation(primary(3).answer, "connection refused")
    choice = choose_primary({"a": broken}, NOW)
    assert choice.primary is None
    assert "connection refused" in choice.reason


@pytest.mark.parametrize(
    ("current", "wanted", "action", "word"),
    [
        (None, None, PoolAction.KEEP, "nothing"),
        (Identity("a", 1, "x"), Identity("a", 1, "x"), PoolAction.KEEP, "nothing"),
        (None, Identity("a", 1, "x"), PoolAction.OPEN, "a is the primary"),
        (Identity("a", 1, "x"), None, PoolAction.DROP, "not the primary"),
        (Identity("a", 1, "x"), Identity("b", 2, "y"), PoolAction.REPLACE, "b has replaced a"),
        (Identity("a", 1, "x"), Identity("a", 1, "z"), PoolAction.REPLACE, "restarted"),
        (Identity("a", 1, "x"), Identity("a", 2, "x"), PoolAction.REPLACE, "timeline 1 to 2"),
    ],
)
def test_connections_never_outlive_a_primarys_life(
    current: Identity | None, wanted: Identity | None, action: PoolAction, word: str
) -> None:
    decided, reason = pool_action(current, wanted)
    assert decided is action
    assert word in reason


@pytest.mark.parametrize(
    ("error", "retry", "outcome", "demotes"),
    [
        (errors.ReadOnlySqlTransaction(), True, Outcome.NOT_DONE, True),
        (errors.AdminShutdown(), True, Outcome.UNKNOWN, True),
        (errors.CrashShutdown(), True, Outcome.UNKNOWN, True),
        (errors.CannotConnectNow(), True, Outcome.NOT_DONE, True),
        (errors.TooManyConnections(), True, Outcome.NOT_DONE, False),
        (errors.SerializationFailure(), True, Outcome.NOT_DONE, False),
        (errors.UndefinedTable(), True, Outcome.NOT_DONE, False),
        (errors.ConnectionFailure(), True, Outcome.UNKNOWN, False),
        (psycopg.OperationalError("server closed the connection unexpectedly"), True, Outcome.UNKNOWN, False),
        (CommitNotReplicatedError("cancelled"), True, Outcome.UNKNOWN, False),
        (AttemptTimeoutError("late", sent=True), True, Outcome.UNKNOWN, False),
        (AttemptTimeoutError("no connection free", sent=False), True, Outcome.NOT_DONE, False),
        (ConnectError("refused"), True, Outcome.NOT_DONE, False),
        (errors.UniqueViolation(), False, Outcome.NOT_DONE, False),
        (errors.SyntaxError(), False, Outcome.NOT_DONE, False),
        (ValueError("ours"), False, Outcome.NOT_DONE, False),
    ],
)
def test_what_a_failure_means(error: Exception, retry: bool, outcome: Outcome, demotes: bool) -> None:
    verdict = classify(error)
    assert (verdict.retry, verdict.outcome, verdict.demotes) == (retry, outcome, demotes)
    assert verdict.reason


def test_the_first_retry_is_at_once_and_later_ones_are_bounded() -> None:
    broken = classify(psycopg.OperationalError("gone"))
    assert pause_before_retry(1, broken) == 0
    assert 0 < pause_before_retry(2, broken) <= pause_before_retry(100, broken) == 0.1


def test_a_demoted_member_is_not_asked_again_at_once() -> None:
    assert pause_before_retry(1, classify(errors.ReadOnlySqlTransaction())) > 0


@pytest.mark.parametrize(
    ("draining", "migrated", "seen", "ready", "word"),
    [
        (False, True, NOW - 0.2, True, "0.2 s ago"),
        (False, True, NOW - REQUEST_DEADLINE + 0.1, True, "ago"),
        (False, True, NOW - REQUEST_DEADLINE - 0.1, False, "no writable primary seen for"),
        (False, True, None, False, "yet"),
        (False, False, NOW, False, "schema"),
        (True, True, NOW, False, "shutting down"),
    ],
)
def test_readiness(draining: bool, migrated: bool, seen: float | None, ready: bool, word: str) -> None:
    verdict = readiness(draining=draining, migrated=migrated, primary_seen=seen, now=NOW)
    assert verdict.ready is ready
    assert word in verdict.reason
