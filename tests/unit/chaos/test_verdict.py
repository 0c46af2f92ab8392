"""The verdict passes when all is well, and each thing that can go wrong makes it fail: none is forgiven."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from okitoki_chaos.verdict import Facts, FaultOutcome, TenantFacts, report, stalls_of
from okitoki_load.ledger import FAIL, OK, UNKNOWN, Operation
from okitoki_local.demo.table import render
from okitoki_phones.judge import COMPLETED, DROPPED, FAILED, CallVerdict, Direction

FAULT = FaultOutcome("database primary of acme", "tenant-acme/postgres-0", 110.0, 130.0, 140.0)


def direction(**changes: Any) -> Direction:
    whole = Direction(
        sent=5000, received=4990, lost=10, lost_at_end=0, duplicated=0, corrupted=0, foreign=0, longest_gap_ms=220.0,
        longest_gap_at=111.0, longest_stall_of_sender_ms=31.0, gaps=[{"at": 111.0, "ms": 220.0}],
    )  # fmt: skip
    return replace(whole, **changes)


def call(**changes: Any) -> CallVerdict:
    whole = CallVerdict(
        call_id="c1", tenant="acme", kind="long", number="+380", outcome=COMPLETED, reason=None, problems=[],
        established_at=100.0, ended_at=200.0, media_addresses=["10.0.0.2"], to_agent=direction(),
        to_caller=direction(longest_gap_ms=90.0),
    )  # fmt: skip
    return replace(whole, **changes)


def operation(index: int, outcome: str = OK, finished: float | None = None) -> Operation:
    body = {"startedAt": f"2026-03-01T12:00:{index:02d}+00:00", "note": f"run/w/{index}"}
    return Operation(f"id-{index}", "w", index, body, 100.0 + index, outcome, finished or 100.1 + index, 1)


OPERATIONS = [operation(index, finished=114.5 if index in {11, 12, 13, 14} else None) for index in range(50)]
RECORDS = [{**op.body, "id": op.id} for op in reversed(OPERATIONS)]
CALL_RECORD = {"id": "k", "callId": "c1", "startedAt": "2026-03-01T11:00:00Z", "note": None}


def facts(**changes: Any) -> Facts:
    whole = Facts(
        run="run", begun=90.0, ended=210.0, planned_faults=[FAULT.name], faults=[FAULT],
        tenants={"acme": TenantFacts(OPERATIONS, [*RECORDS, CALL_RECORD])}, calls=[call()],
        media_addresses=["10.0.0.2", "10.0.0.3"], context={"seed": 1},
    )  # fmt: skip
    return replace(whole, **changes)


def tenant(operations: list[Operation] = OPERATIONS, records: list[Any] | None = None) -> dict[str, TenantFacts]:
    return {"acme": TenantFacts(operations, [*RECORDS, CALL_RECORD] if records is None else records)}


def test_when_all_is_well_it_passes_and_measures() -> None:
    found = report(facts())
    assert (found["verdict"], found["failures"]) == ("passed", [])
    assert found["writes"]["acme"]["acknowledged"] == 50
    assert found["writes"]["acme"]["longestGap"] == {"at": 110.1, "seconds": 4.4}
    assert found["calls"]["spanningAllFaults"] == 1
    assert found["calls"]["audio"]["toAgent"]["longestGapMs"] == 220.0
    (fault,) = found["faults"]
    assert (fault["replacedAfterSeconds"], fault["wholeAfterSeconds"]) == (20.0, 30.0)
    assert fault["longestWriteGap"]["acme"]["seconds"] == 4.4
    assert fault["longestAudioGapMs"] == {"toAgent": 220.0, "toCaller": 220.0}
    assert found["callRecords"]["expected"] == found["callRecords"]["found"] == 1
    json.dumps(found, allow_nan=False)


def test_the_table_holds_the_figures() -> None:
    text = render(report(facts()))
    assert "VERDICT: PASSED" in text
    for figure in ("4.40 s", "220 ms", "through all faults", "tenant-acme/postgres-0", "30.00 s"):
        assert figure in text


FAILURES: list[tuple[Callable[[], Facts], str]] = [
    (lambda: facts(tenants=tenant(records=[*RECORDS[1:], CALL_RECORD])), "acme: 1 acknowledged writes were lost"),
    (lambda: facts(tenants=tenant(OPERATIONS[:-1])), "never written or were refused"),
    (lambda: facts(tenants=tenant([*OPERATIONS[:-1], operation(49, FAIL)])), "never written or were refused"),
    (lambda: facts(tenants=tenant(records=[RECORDS[0], *RECORDS, CALL_RECORD])), "1 writes were stored twice"),
    (lambda: facts(tenants=tenant([operation(1, UNKNOWN)], [CALL_RECORD])), "no write was ever acknowledged"),
    (lambda: facts(calls=[]), "no call was ever set up"),
    (lambda: facts(calls=[call(outcome=DROPPED, reason="BYE not answered")]), "an established call was dropped"),
    (lambda: facts(calls=[call(to_agent=direction(corrupted=1))]), "audio was not whole"),
    (lambda: facts(calls=[call(to_caller=None)]), "audio was not whole"),
    (lambda: facts(calls=[call(media_addresses=["10.9.9.9"])]), "went past the region's relays: 10.9.9.9"),
    (lambda: facts(calls=[call(established_at=120.0)]), "no call lasted through all faults"),
    (lambda: facts(calls=[call(), call(call_id="c2")]), "1 answered calls have no call record: c2"),
    (lambda: facts(tenants=tenant(records=[*RECORDS, CALL_RECORD, CALL_RECORD])), "more than one call record"),
    (
        lambda: facts(tenants={**tenant(), "globex": TenantFacts(OPERATIONS, [*RECORDS, CALL_RECORD])}),
        "record in another tenant",
    ),
    (lambda: facts(troubles=["writes did not flow again"]), "writes did not flow again"),
    (lambda: facts(faults=[]), "database primary of acme: was not tried"),
    (lambda: facts(faults=[replace(FAULT, recovered_at=None)]), "the platform was not whole again"),
    (lambda: facts(faults=[replace(FAULT, recovered_at=None, error="refusing")]), "refusing"),
]


@pytest.mark.parametrize(("made", "failure"), FAILURES)
def test_each_thing_that_is_wrong_fails_the_demo_in_words(made: Callable[[], Facts], failure: str) -> None:
    found = report(made())
    assert found["verdict"] == "failed"
    assert any(failure in one for one in found["failures"]), found["failures"]
    assert failure in render(found)


def test_a_failed_call_attempt_is_reported_and_no_dropped_call() -> None:
    failed = call(call_id="c2", outcome=FAILED, reason="408 no answer", established_at=None, ended_at=115.0,
                  to_agent=None, to_caller=None, media_addresses=[])  # fmt: skip
    found = report(facts(calls=[call(), failed]))
    assert found["verdict"] == "passed"
    assert found["calls"]["failedWith"] == {"408 no answer": 1}
    assert found["faults"][0]["callsFailed"] == 1


def test_stalls_of_drill_and_clients_stand_together(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(json.dumps({"type": "stall", "at": 2.0, "seconds": 0.4}) + "\n")
    events = [{"event": "stall", "at": 3.0, "seconds": 0.2}, {"event": "bit", "at": 1.0}]
    assert stalls_of(events, {"acme": ledger}) == [
        {"who": "writer of acme", "at": 2.0, "seconds": 0.4},
        {"who": "drill", "at": 3.0, "seconds": 0.2},
    ]
