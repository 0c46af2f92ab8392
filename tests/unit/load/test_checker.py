from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okitoki_load.checker import INVALID, UNDECIDED, VALID, check, of_run
from okitoki_load.ledger import FAIL, OK, UNKNOWN, Operation

NUMBER = "+380441234567"


def operation(index: int, outcome: str = OK) -> Operation:
    body = {"number": NUMBER, "startedAt": f"2026-03-01T12:00:{index:02d}.000+00:00", "note": f"run/w/{index}"}
    return Operation(f"id-{index}", "w", index, body, float(index), outcome, index + 0.1, 1)


def stored(operations: list[Operation]) -> list[dict[str, Any]]:
    """As an honest server lists them: newest first, times in its own spelling."""
    return [
        {**op.body, "id": op.id, "startedAt": op.body["startedAt"].replace(".000+00:00", "Z"), "agent": None}
        for op in sorted(operations, key=lambda op: -op.sequence)
    ]


FIVE = [operation(index) for index in range(5)]


def test_an_honest_server_is_valid() -> None:
    verdict = check(FIVE, stored(FIVE))
    assert verdict.state == VALID
    assert (verdict.acknowledged, verdict.stored) == (5, 5)


def test_a_server_that_acknowledges_and_drops_is_caught() -> None:
    verdict = check(FIVE, stored(FIVE[:3] + FIVE[4:]))
    assert (verdict.state, verdict.lost) == (INVALID, ["id-3"])


def test_a_server_that_stores_twice_is_caught() -> None:
    twice = stored(FIVE)
    twice.insert(0, twice[0])
    verdict = check(FIVE, twice)
    assert (verdict.state, verdict.duplicates) == (INVALID, ["id-4"])


def test_a_server_that_stores_a_retry_under_a_second_id_is_caught() -> None:
    twice = stored(FIVE)
    twice.insert(0, {**twice[0], "id": "another"})
    verdict = check(FIVE, twice)
    assert verdict.state == INVALID
    assert verdict.duplicates == ["another", "id-4"]
    assert verdict.phantom == ["another"]


def test_a_server_that_stores_what_was_never_sent_is_caught() -> None:
    verdict = check(FIVE[:4], stored(FIVE))
    assert (verdict.state, verdict.phantom) == (INVALID, ["id-4"])


def test_a_server_that_stores_what_it_refused_is_caught() -> None:
    operations = [*FIVE[:4], replace(FIVE[4], outcome=FAIL)]
    assert check(operations, stored(FIVE)).phantom == ["id-4"]


def test_a_server_that_alters_is_caught() -> None:
    records = stored(FIVE)
    records[2]["number"] = "+1234567"
    verdict = check(FIVE, records)
    assert (verdict.state, verdict.altered) == (INVALID, ["id-2"])


def test_a_list_out_of_order_is_caught() -> None:
    records = stored(FIVE)
    records[1], records[2] = records[2], records[1]
    verdict = check(FIVE, records)
    assert (verdict.state, verdict.inversions) == (INVALID, ["id-2"])


def recorded(operations: list[Operation], at: dict[int, float]) -> list[dict[str, Any]]:
    """The same list, with the second at which the server stored each."""
    return [
        {**record, "recordedAt": f"2026-03-01T12:00:{at[int(record['id'].removeprefix('id-'))]:06.3f}Z"}
        for record in stored(operations)
    ]


def test_what_was_stored_in_the_order_of_acknowledgement_is_valid() -> None:
    verdict = check(FIVE, recorded(FIVE, {index: index + 0.05 for index in range(5)}))
    assert (verdict.state, verdict.order_checked) == (VALID, 4)


def test_a_write_stored_before_one_that_was_acknowledged_before_it_began_is_caught() -> None:
    times = {0: 0.05, 1: 1.05, 2: 3.5, 3: 3.05, 4: 4.05}  # the third is acknowledged at 2.1, the fourth begins at 3
    verdict = check(FIVE, recorded(FIVE, times))
    assert (verdict.state, verdict.out_of_order) == (INVALID, ["id-3"])


def test_writes_that_overlap_and_those_of_other_writers_have_no_order() -> None:
    swapped = {0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0, 4: 0.0}
    overlapping = [replace(op, finished=10.0) for op in FIVE]
    assert check(overlapping, recorded(overlapping, swapped)).state == VALID
    strangers = [replace(op, writer=f"w{op.sequence}") for op in FIVE]
    verdict = check(strangers, recorded(strangers, swapped))
    assert (verdict.state, verdict.order_checked) == (VALID, 0)


@pytest.mark.parametrize("present", [True, False])
def test_unknown_may_be_stored_or_not_and_is_counted_apart(present: bool) -> None:
    operations = [*FIVE[:4], replace(FIVE[4], outcome=UNKNOWN)]
    verdict = check(operations, stored(FIVE if present else FIVE[:4]))
    assert verdict.state == VALID
    assert (verdict.unknown, verdict.unknown_stored) == (1, int(present))


def test_nothing_acknowledged_decides_nothing() -> None:
    assert check([], []).state == UNDECIDED
    assert check([replace(op, outcome=UNKNOWN) for op in FIVE], stored(FIVE)).state == UNDECIDED


def test_records_of_other_runs_and_of_calls_are_left_out() -> None:
    records = [{"id": "a", "note": "run/w/1"}, {"id": "b", "note": "run2/w/1"}, {"id": "c", "note": None}, {"id": "d"}]
    assert [record["id"] for record in of_run(records, "run")] == ["a"]


@settings(deadline=None)
@given(st.lists(st.sampled_from([OK, FAIL, UNKNOWN]), max_size=30), st.data())
def test_exactly_the_contradictions_are_found(outcomes: list[str], data: st.DataObject) -> None:
    operations = [operation(index, outcome) for index, outcome in enumerate(outcomes)]
    kept = [op for op in operations if data.draw(st.booleans())]
    verdict = check(operations, stored(kept))
    assert set(verdict.lost) == {op.id for op in operations if op.outcome == OK and op not in kept}
    assert set(verdict.phantom) == {op.id for op in kept if op.outcome == FAIL}
    assert not verdict.duplicates
    assert not verdict.altered
