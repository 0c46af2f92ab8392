"""Conditions: merging without churn, the summary, and what is worth an event."""

from __future__ import annotations

from datetime import UTC, datetime

from okitoki.reconcile.conditions import Condition, failing, good, merge, news, progressing, resting, summary
from okitoki.reconcile.loop import status_patch

FIRST = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)


def test_the_time_of_a_transition_is_kept_while_the_status_is_the_same() -> None:
    old = merge([], [progressing("AppReady", "Starting", "0 of 2")], 1, FIRST)
    same = merge(old, [progressing("AppReady", "Starting", "1 of 2")], 2, LATER)
    assert same[0]["lastTransitionTime"] == "2026-11-24T12:00:00Z"
    assert same[0]["message"] == "1 of 2"
    assert same[0]["observedGeneration"] == 2
    changed = merge(same, [good("AppReady", "PodsReady", "2 of 2")], 2, LATER)
    assert changed[0]["lastTransitionTime"] == "2026-11-24T13:00:00Z"


def test_ready_is_true_only_when_everything_is() -> None:
    assert summary([good("A", "Fine", ""), good("B", "Fine", "")]).status == "True"
    assert summary([good("A", "Fine", ""), Condition("B", "Unknown", "NoAnswer", "?")]).status == "False"


def test_ready_names_a_failure_before_mere_progress_and_ignores_abnormal_conditions() -> None:
    found = summary([progressing("A", "Starting", "x"), failing("B", "Broken", "mend it")])
    assert (found.reason, found.message) == ("Broken", "B: mend it")
    stalled = Condition("Stalled", "True", "InvalidSpec", "x", abnormal=True)
    assert summary([good("A", "Fine", ""), stalled]).status == "True"


def test_news_are_new_failures_and_ready_changing_sides() -> None:
    fresh = [progressing("AppReady", "Starting", "x"), summary([progressing("AppReady", "Starting", "x")])]
    assert news([], fresh) == []
    old = merge([], fresh, 1, FIRST)
    ready = [good("AppReady", "PodsReady", "x"), summary([good("AppReady", "PodsReady", "x")])]
    assert [c.type for c in news(old, ready)] == ["Ready"]
    broken = [failing("AppReady", "Broken", "x"), summary([failing("AppReady", "Broken", "x")])]
    assert [c.type for c in news(merge(old, ready, 1, FIRST), broken)] == ["AppReady", "Ready"]
    assert news(merge([], broken, 1, FIRST), broken) == []


def test_to_be_ready_for_another_reason_is_news() -> None:
    served, withheld = summary([good("A", "Fine", "")]), summary([resting("Restricted", "Restricted", "no operators")])
    assert (withheld.status, withheld.reason) == ("True", "Restricted")
    assert news(merge([], [served], 1, FIRST), [withheld]) == [withheld]
    assert news(merge([], [withheld], 1, FIRST), [withheld]) == []
    assert news(merge([], [withheld], 1, FIRST), [served]) == [served]


def test_a_status_patch_holds_the_difference_and_removes_what_is_gone() -> None:
    old = {"numbers": 1, "database": {"primary": "a", "members": "3/3"}, "hosts": ["x"]}
    assert status_patch(old, old) == {}
    new = {"numbers": None, "database": {"primary": None, "members": "2/3"}, "hosts": ["x"]}
    assert status_patch(old, new) == {"numbers": None, "database": {"primary": None, "members": "2/3"}}
    assert status_patch({}, {"app": {"replicas": "0/2"}, "none": None}) == {"app": {"replicas": "0/2"}}
