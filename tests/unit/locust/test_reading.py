from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError, SSLError

from okitoki_load.ledger import FAIL, OK, UNKNOWN, Operation
from okitoki_locust.client import judge_error
from okitoki_locust.reading import WRONG, judge_list, judge_record

NUMBER = "+380441234567"
SENT = Operation("a", "w", 1, {"number": NUMBER, "startedAt": "2026-03-01T12:00:00.000+00:00"}, 1.0)
STORED = {"id": "a", "number": NUMBER, "startedAt": "2026-03-01T12:00:00Z", "agent": None}
SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def test_an_acknowledged_record_must_be_there_as_it_was_sent() -> None:
    assert judge_record(200, STORED, SENT).outcome == OK
    for status, body in [(404, None), (200, None), (200, {**STORED, "id": "b"}), (200, {**STORED, "number": "+1"})]:
        attempt = judge_record(status, body, SENT)
        assert (attempt.outcome, attempt.again) == (FAIL, False)
        assert attempt.detail.startswith(WRONG)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_read_that_failed_is_tried_again_and_no_contradiction(status: int) -> None:
    for attempt in (judge_record(status, None, SENT), judge_list(status, None, NUMBER, SINCE, 5)):
        assert attempt.again
        assert not attempt.detail.startswith(WRONG)


def page(*hours: int, number: str = NUMBER) -> dict[str, Any]:
    return {"items": [{"id": str(h), "number": number, "startedAt": f"2026-03-01T{h:02d}:00:00Z"} for h in hours]}


def test_a_list_keeps_its_filter_its_order_and_its_limit() -> None:
    assert judge_list(200, page(5, 3, 3, 1), NUMBER, SINCE, 5).outcome == OK
    assert judge_list(200, page(), NUMBER, SINCE, 5).outcome == OK
    late = datetime(2026, 3, 1, 2, tzinfo=UTC)
    wrong = [
        judge_list(200, page(3, 5), NUMBER, SINCE, 5),
        judge_list(200, page(5, number="+1"), NUMBER, SINCE, 5),
        judge_list(200, page(5, 1), NUMBER, late, 5),
        judge_list(200, page(5, 4, 3), NUMBER, SINCE, 2),
        judge_list(200, [], NUMBER, SINCE, 2),
    ]
    assert all(attempt.detail.startswith(WRONG) and not attempt.again for attempt in wrong)


def test_without_a_connection_nothing_was_sent_and_afterwards_nobody_knows() -> None:
    import ssl

    pool: Any = None
    assert judge_error(NewConnectionError(pool, "refused")).outcome == FAIL
    assert judge_error(ConnectTimeoutError()).outcome == FAIL
    assert judge_error(ProtocolError("closed")).outcome == UNKNOWN
    assert judge_error(TimeoutError()).outcome == UNKNOWN
    invalid = judge_error(SSLError(ssl.SSLCertVerificationError("unknown CA")))
    assert (invalid.outcome, invalid.again) == (FAIL, False)
    assert judge_error(SSLError(ssl.SSLEOFError("cut"))).outcome == UNKNOWN
