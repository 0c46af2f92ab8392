from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from okitoki_load.checker import INVALID, UNDECIDED, VALID
from okitoki_load.ledger import FAIL, OK, Operation
from okitoki_load.report import Evidence, lines, report, troubles_of

NUMBER = "+380441234567"


def write(index: int, outcome: str = OK) -> Operation:
    body = {"number": NUMBER, "startedAt": f"2026-03-01T12:00:{index:02d}.000+00:00", "note": f"run/w/{index}"}
    return Operation(f"id-{index}", "w", index, body, float(index), outcome, index + 0.1, 1)


def stored(operations: list[Operation]) -> list[dict[str, Any]]:
    return [{**op.body, "id": op.id} for op in sorted(operations, key=lambda op: -op.sequence)]


def request(
    at: float, *, judged: bool = True, error: str | None = None, worker: int = 0, **facts: Any
) -> dict[str, Any]:
    return {
        "type": "request", "worker": worker, "at": at + 0.1, "due": at, "kind": "API" if judged else "POST",
        "name": "write", "seconds": 0.1, "error": error, "protocol": "https", "judged": judged, **facts,
    }  # fmt: skip


def run_note(worker: int = 0, region: str = "kyiv.test") -> dict[str, Any]:
    return {"type": "run", "worker": worker, "tenant": "acme", "region": region, "at": 0.0}


def end_note(worker: int = 0, **facts: Any) -> dict[str, Any]:
    return {"type": "end", "worker": worker, "at": 9.0, "missed": 0, "unfinished": 0, "broken": None, **facts}


WRITES = [write(index) for index in range(5)]
NOTES = [run_note(), *(request(float(index)) for index in range(5)), end_note()]


def evidence(**changes: Any) -> Evidence:
    return replace(Evidence("run", WRITES, NOTES, stored(WRITES)), **changes)


def test_a_run_as_promised_is_valid_and_can_be_told_in_lines() -> None:
    found = report(evidence())
    assert (found["state"], found["failures"]) == (VALID, [])
    assert lines(found)[0].startswith("valid: 5 writes acknowledged, 0 lost")


def test_a_loss_a_contradiction_and_a_stranger_are_failures() -> None:
    assert report(evidence(records=stored(WRITES[:4])))["failures"] == ["1 acknowledged writes were lost"]
    violation = {"type": "violation", "worker": 0, "at": 1.0, "id": "id-1", "what": "wrong: it is not there"}
    found = report(evidence(notes=[*NOTES, violation]))
    assert (found["state"], found["failures"]) == (INVALID, ["wrong: it is not there (record id-1)"])
    assert report(evidence(operations=WRITES[:4]))["state"] == INVALID


def test_when_a_ledger_is_missing_strange_records_prove_nothing_but_losses_do() -> None:
    partly = evidence(operations=WRITES[:4], troubles=["there is no ledger of client 1"])
    assert report(partly)["state"] == UNDECIDED
    assert report(replace(partly, records=stored(WRITES[1:])))["state"] == INVALID


def test_nothing_done_decides_nothing() -> None:
    assert report(evidence(operations=[], records=[], notes=[run_note(), end_note()]))["state"] == UNDECIDED
    refused = [replace(op, outcome=FAIL) for op in WRITES]
    assert report(evidence(operations=refused, records=[]))["state"] == UNDECIDED


def test_gaps_are_told_per_region_and_count_from_the_intended_starts() -> None:
    failed = [request(float(at), error="fail: 503", worker=1) for at in (2, 3, 4)]
    notes = [*NOTES, run_note(1, "lviv.test"), request(0.0, worker=1), *failed, request(5.0, worker=1), end_note(1)]
    first, second = report(evidence(notes=notes))["gaps"]
    assert (first["region"], first["failed"]) == ("kyiv.test", 0)
    assert first["seconds"] == pytest.approx(1.0)
    assert (second["region"], second["operations"], second["failed"]) == ("lviv.test", 5, 3)
    assert second["seconds"] == pytest.approx(4.9)


def test_raw_failures_are_published_beside_the_judged_outcome() -> None:
    raw = [request(1.0, judged=False, error="503"), request(1.1, judged=False, error="503"), request(1.2, judged=False)]
    found = report(evidence(notes=[*NOTES, *raw]))
    [posts] = found["requests"]
    assert (posts["count"], posts["failed"], posts["errors"]) == (3, 2, {"503": 2})
    assert found["state"] == VALID
    assert any("2 raw failures" in line for line in lines(found))


def test_starts_that_came_late_are_published_with_the_worst_delay() -> None:
    late = [{"type": "late", "worker": 0, "due": 3.0, "seconds": seconds} for seconds in (0.2, 1.7, 0.4)]
    found = report(evidence(notes=[*NOTES, *late]))
    assert (found["clients"]["lateStarts"], found["clients"]["worstStartDelay"]) == (3, 1.7)
    assert any("3 late (worst by 1.7 s)" in line for line in lines(found))
    punctual = report(evidence())["clients"]
    assert (punctual["lateStarts"], punctual["worstStartDelay"]) == (0, 0.0)


def test_the_clients_own_stalls_and_missed_starts_are_published() -> None:
    stalls = [{"type": "stall", "worker": 0, "where": "users", "at": 2.0, "seconds": s} for s in (0.1, 0.7)]
    own = report(evidence(notes=[*NOTES, *stalls, {"type": "missed", "worker": 0, "due": 3.0}]))["clients"]
    assert (own["stalls"], own["stalledSeconds"], own["missedStarts"]) == (2, 0.8, 1)
    assert own["worstStall"] == {"where": "users", "at": 2.0, "seconds": 0.7}


def leg(**changes: Any) -> dict[str, Any]:
    audio = {
        "out": {"sent": 50, "longestMs": 21.0},
        "in": {"received": 50, "lost": 0, "highest": 49, "duplicated": 0, "corrupted": 0, "foreign": 0,
               "longestMs": 25.0, "longestAt": 2.0, "gaps": []},
    }  # fmt: skip
    record = {
        "role": "carrier", "callId": "c", "tenant": "acme", "kind": "load", "number": NUMBER, "attemptedAt": 1.0,
        "establishedAt": 1.5, "endedAt": 2.5, "endedBy": "local", "code": 200, "reason": "OK", "byeCode": 200,
        "notes": [], "audio": audio, "mediaAddress": "198.18.0.3", "calleeTag": "t",
    }  # fmt: skip
    return {"type": "leg", "worker": 0, "record": {**record, **changes}}


AGENT_LEG = leg(role="agent", endedBy="remote", byeCode=None)
CALL_RECORD = {"id": "k", "callId": "c", "startedAt": "2026-03-01T11:00:00Z"}


def test_calls_are_judged_from_both_sides_and_have_one_record_each() -> None:
    whole = evidence(notes=[*NOTES, leg(), AGENT_LEG], records=[*stored(WRITES), CALL_RECORD])
    found = report(whole)
    assert (found["state"], found["calls"]["completed"]) == (VALID, 1)
    assert report(replace(whole, records=stored(WRITES)))["failures"] == ["1 answered calls have no call record"]
    twice = [*stored(WRITES), CALL_RECORD, {**CALL_RECORD, "id": "l"}]
    assert report(replace(whole, records=twice))["failures"] == ["1 answered calls have more than one record"]
    dropped = replace(whole, notes=[*NOTES, leg(byeCode=481), AGENT_LEG])
    [failure] = report(dropped)["failures"]
    assert "an established call was dropped (c): BYE not answered with 200: 481" in failure


def test_ledgers_that_are_missing_break_off_or_tell_of_trouble_are_named() -> None:
    notes = [run_note(0), end_note(0), run_note(1), run_note(2), end_note(2, broken="disk full", unfinished=2)]
    assert troubles_of(notes, [0, 1, 2, 3]) == [
        "there is no ledger of client 3",
        "the ledger of client 1 breaks off: it was killed",
        "client 2: disk full",
        "client 2: 2 operations did not end",
    ]
