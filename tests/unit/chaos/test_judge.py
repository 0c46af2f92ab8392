"""Each figure against its goal; and the controls: what must be caught is, and a control that is not fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from okitoki_chaos import junit, page, report
from okitoki_chaos.judge import SessionFacts, judge
from okitoki_chaos.verdict import Facts, TenantFacts
from okitoki_load.ledger import FAIL, OK, Operation
from okitoki_phones.judge import COMPLETED, DROPPED, FAILED, CallVerdict, Direction

RUN = "drill-1-s1"
AT, WHOLE = 120.0, 140.0


def operation(number: int, finished: float | None, outcome: str = OK) -> Operation:
    due = 100.0 + number * 0.1
    started = f"2026-03-01T12:00:{number // 10:02d}.{number % 10}00+00:00"
    body = {"startedAt": started, "note": f"{RUN}/acme-1/{number}"}
    return Operation(f"id-{number}", "acme-1", number, body, due, outcome, finished, 1, "201")


def operations(silence: tuple[float, float] = (0.0, 0.0)) -> list[Operation]:
    """Ten writes a second for a minute; those due in the silence are answered at its end."""
    found = []
    for number in range(600):
        due = 100.0 + number * 0.1
        inside = silence[0] <= due < silence[1]
        found.append(operation(number, silence[1] + 0.001 * number if inside else due + 0.01))
    return found


def stored(found: list[Operation]) -> list[dict[str, Any]]:
    return [{"id": one.id, **one.body} for one in reversed(found) if one.outcome == OK]


def result(**changes: Any) -> dict[str, Any]:
    whole = {
        "name": "000-primary-pod-kill-1", "experiment": "primary-pod-kill", "title": "t", "row": None,
        "goals": {"writeGapSeconds": 3.0, "failedWrites": 0}, "mustFail": [], "tenant": "acme", "repetition": 1,
        "outcome": "done", "error": None, "fault": "pod-kill", "target": "primary (x)", "facts": {}, "proofs": ["gone"],
        "at": AT, "bitAt": AT + 0.2, "healedAt": AT + 1, "wholeAt": WHOLE, "healedBy": "runner", "ended": WHOLE,
    }  # fmt: skip
    return {**whole, **changes}


def direction(**changes: Any) -> Direction:
    base: dict[str, Any] = {
        "sent": 900, "received": 900, "lost": 0, "lost_at_end": 0, "duplicated": 0, "corrupted": 0, "foreign": 0,
        "longest_gap_ms": 40.0, "longest_gap_at": AT, "longest_stall_of_sender_ms": 21.0, "gaps": [],
    }  # fmt: skip
    return Direction(**{**base, **changes})


def call(outcome: str = COMPLETED, **changes: Any) -> CallVerdict:
    reason = "to_agent: silent" if outcome == DROPPED else None
    return CallVerdict(
        "c1", "acme", "long", "+380", outcome, reason, [], 101.0, 158.0, ["198.18.1.193"],
        to_agent=direction(**changes), to_caller=direction(),
    )  # fmt: skip


def session(
    found: list[Operation], results: list[dict[str, Any]], kept: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    records = [*(stored(found) if kept is None else kept), {"id": "call", "callId": "c1"}]
    facts = Facts(
        run=RUN, begun=100.0, ended=160.0, planned_faults=(), faults=(),
        tenants={"acme": TenantFacts(found, records)}, calls=more.get("calls", [call()]),
        media_addresses=["198.18.1.193"], troubles=more.get("troubles", ()),
    )  # fmt: skip
    return judge(SessionFacts(facts, results, more.get("events", []), more.get("stalls", [])))


def kinds(judged: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in [*judged["items"][0]["failures"], *judged["failures"]]]


def test_all_as_promised() -> None:
    judged = session(operations((120.5, 122.5)), [result()])
    assert kinds(judged) == []
    assert judged["items"][0]["figures"]["writeGapSeconds"] == pytest.approx(2.0, abs=0.3)


def test_a_gap_beyond_the_goal_is_missed_and_not_excused_by_a_stall() -> None:
    judged = session(operations((121.0, 124.5)), [result()], stalls=[{"who": "drill", "at": 122.0, "seconds": 3.0}])
    assert kinds(judged) == ["write-gap"]
    assert judged["items"][0]["figures"]["ownStallSeconds"] == 3.0


def test_a_write_that_failed_after_its_retries_is_counted() -> None:
    found = operations()
    found[250] = operation(250, 137.0, FAIL)
    assert kinds(session(found, [result()])) == ["failed-writes"]


def test_lost_writes_fail_the_session() -> None:
    found = operations()
    assert kinds(session(found, [result()], kept=stored(found)[5:])) == ["lost"]


def test_a_dropped_call_belongs_to_the_fault_that_silenced_it() -> None:
    dropped = call(DROPPED, longest_gap_ms=9000.0, longest_gap_at=125.0)
    assert kinds(session(operations(), [result()], calls=[dropped])) == ["audio"]
    outside = call(DROPPED, longest_gap_ms=9000.0, longest_gap_at=150.0)
    judged = session(operations(), [result()], calls=[outside])
    assert judged["items"][0]["failures"] == []
    assert kinds(judged) == ["audio"]


def test_the_silence_of_a_dropped_call_is_no_audio_gap_of_later_faults() -> None:
    """Seen in a drill: calls that ended with all power gone failed each of the ten faults after it."""
    gaps = [{"at": 125.0, "ms": 900_000.0}]
    dropped = call(DROPPED, longest_gap_ms=900_000.0, longest_gap_at=125.0, gaps=gaps)
    goals = {"audioGapMs": 1000.0}
    first = result(goals={"droppedCalls": None, **goals})
    later = result(name="001-edge-pod-kill-1", goals=goals, at=150.0, bitAt=150.2, healedAt=151.0, wholeAt=160.0)
    judged = session(operations(), [first, later], calls=[dropped])
    assert [item["figures"]["audioGapMs"] for item in judged["items"]] == [900_000.0, None]
    assert [len(item["failures"]) for item in judged["items"]] == [1, 0]


VOICE = {"failedCalls": 0, "forwardedCalls": 0, "setUpSeconds": 1.0}


def test_calls_that_could_not_be_set_up_or_only_late_miss_the_goals_of_the_fault_that_they_met() -> None:
    late = replace(call(), attempted_at=125.0, established_at=128.0, set_up_seconds=2.4)
    refused = replace(call(FAILED), attempted_at=126.0, established_at=None, ended_at=126.1, reason="480 No Agent")
    gone = replace(call(), attempted_at=127.0, established_at=131.0, forwarded="+380 unreachable")
    before = replace(refused, attempted_at=110.0, ended_at=110.1)
    calls = [call(), late, refused, gone, before]
    judged = session(operations(), [result(goals=VOICE)], calls=calls)
    figures = judged["items"][0]["figures"]
    found = {name: figures[name] for name in (*VOICE, "failedWith")}
    assert found == {"failedCalls": 1, "forwardedCalls": 1, "setUpSeconds": 2.4, "failedWith": ["480 No Agent"]}
    assert sorted(one["kind"] for one in judged["items"][0]["failures"]) == ["failed-calls", "failed-calls", "set-up"]


def test_audio_of_a_call_that_the_carrier_forwarded_is_none_of_the_relays_and_has_no_record_here() -> None:
    forwarded = replace(call(), call_id="c2", forwarded="+380 unreachable", media_addresses=["198.18.2.1"])
    judged = session(operations(), [result()], calls=[call(), forwarded])
    assert kinds(judged) == []


def test_an_address_that_moves_by_itself_is_counted() -> None:
    events = [
        {"event": "holder", "at": at, "of": "kyiv sip", "is": who}
        for at, who in [(100.0, "edge-0"), (125.0, "edge-1"), (130.0, "edge-1"), (150.0, "edge-0")]
    ]
    judged = session(operations(), [result(goals={"addressMoves": 0})], events=events)
    assert judged["items"][0]["figures"]["addressMoves"] == 1
    assert kinds(judged) == ["moves"]


def test_a_fault_for_which_calls_may_drop_says_so() -> None:
    dropped = call(DROPPED, longest_gap_ms=9000.0, longest_gap_at=125.0)
    judged = session(operations(), [result(goals={"droppedCalls": None})], calls=[dropped])
    assert kinds(judged) == []


def test_asynchronous_replication_is_caught_losing_writes() -> None:
    found = operations()
    control = result(experiment="control-asynchronous", mustFail=["lost"], goals={})
    judged = session(found, [control], kept=stored(found)[40:])
    assert kinds(judged) == []
    assert judged["items"][0]["caught"][0]["words"] == "acme: 40 acknowledged writes were lost"


def test_a_control_that_is_not_caught_fails() -> None:
    control = result(experiment="control-asynchronous", mustFail=["lost"], goals={})
    assert kinds(session(operations(), [control])) == ["not-caught"]


def test_a_fault_without_a_bite_is_caught() -> None:
    control = result(mustFail=["no-bite"], outcome="failed", error="not seen", bitAt=None, goals={})
    assert kinds(session(operations(), [control])) == []
    plain = result(outcome="failed", error="not seen", bitAt=None)
    assert kinds(session(operations(), [plain])) == ["no-bite"]


def test_muted_audio_is_caught() -> None:
    control = result(mustFail=["audio"], goals={})
    dropped = call(DROPPED, longest_gap_ms=9000.0, longest_gap_at=125.0)
    assert kinds(session(operations(), [control], calls=[dropped])) == []
    assert kinds(session(operations(), [control])) == ["not-caught"]


def test_what_is_not_possible_is_no_failure_and_is_told() -> None:
    impossible = result(outcome="not possible", error="no clock", at=None, bitAt=None, healedAt=None, wholeAt=None)
    found = report.report({"name": "full", "seed": 7}, [session(operations(), [impossible, result()])], [], {})
    assert found["verdict"] == "passed"
    assert found["notPossible"] == ["no clock"]
    assert '<skipped message="no clock"/>' in junit.render(found)
    assert "Not possible with this driver" in page.render(found)


def test_the_claim_is_exact_and_a_drill_cut_short_has_not_passed() -> None:
    judged = session(operations(), [result()])
    found = report.report({"name": "full", "seed": 7}, [judged], [], {})
    assert found["verdict"] == "passed"
    assert found["claim"].startswith("no acknowledged loss observed in 600 operations under 1 faults with seed 7")
    short = report.report({"name": "full", "seed": 7}, [judged], ["001-x-1"], {})
    assert short["failures"] == ["001-x-1: was not run"]
    assert report.report({"name": "full", "seed": 7}, [], [], {})["verdict"] == "failed"


def test_the_worst_of_the_runs_stands_in_the_report() -> None:
    slow = session(operations((120.5, 123.0)), [result()])
    fast = session(operations((120.5, 121.5)), [result()])
    found = report.report({"name": "full", "seed": 7}, [fast, slow], [], {})
    (one,) = found["experiments"]
    assert one["runs"] == 2
    assert one["worst"]["writeGapSeconds"] == pytest.approx(2.5, abs=0.3)


def test_the_page_draws_load_gaps_faults_and_who_was_what() -> None:
    events = [
        {"at": 90.0, "event": "primary", "of": "acme", "is": "postgres-0"},
        {"at": AT, "event": "injecting"},
        {"at": 122.0, "event": "primary", "of": "acme", "is": "postgres-1"},
        {"at": 121.0, "event": "holder", "of": "kyiv sip", "is": "edge-1"},
    ]
    judged = session(operations((120.5, 123.0)), [result(title="<b>")], events=events)
    scene = judged["items"][0]["scene"]
    assert scene["lanes"]["primary of acme"] == [(AT - 6.0, 122.0, "postgres-0"), (122.0, WHOLE + 5.0, "postgres-1")]
    text = page.render(report.report({"name": "smoke", "seed": 7}, [judged], [], {}))
    assert text.count("<svg") == 1
    assert "primary of acme: postgres-1" in text
    assert "no write of acme for 2." in text
    assert "<b>" not in text.replace("<b>000-", "")
    assert "http" not in text  # it needs nothing from anywhere


def test_junit_has_a_case_for_each_fault_and_one_for_the_whole() -> None:
    from xml.etree import ElementTree

    judged = session(operations((121.0, 125.0)), [result()], troubles=["the watchdog had to act"])
    suite = ElementTree.fromstring(junit.render(report.report({"name": "smoke", "seed": 7}, [judged], [], {})))  # noqa: S314
    assert suite.attrib["tests"] == "2"
    assert suite.attrib["failures"] == "2"


def test_where_times_are_only_reported_a_gap_is_slow_and_a_loss_still_a_failure() -> None:
    late = session(operations((121.0, 124.5)), [result()])
    plan = {"name": "smoke", "seed": 7}
    assert report.report(plan, [late], [], {})["verdict"] == "failed"
    found = report.report(plan, [late], [], {}, times_judged=False)
    assert (found["verdict"], found["failures"]) == ("passed", [])
    assert len(found["slow"]) == 1
    assert "writes stood still" in found["slow"][0]
    assert "not judged" in page.render(found)
    writes = operations((121.0, 124.5))
    writes[250] = operation(250, 137.0, FAIL)
    dropped = call(DROPPED, longest_gap_ms=9000.0, longest_gap_at=125.0)
    for judged in (
        session(writes, [result()]),
        session(operations((121.0, 124.5)), [result()], calls=[dropped]),
        session(writes, [result()], kept=stored(writes)[5:]),
        session(operations(), [result(outcome="failed", error="not seen", bitAt=None)]),
    ):
        assert report.report(plan, [judged], [], {}, times_judged=False)["verdict"] == "failed"
