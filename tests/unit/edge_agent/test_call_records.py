from typing import Any

import pytest

from okitoki_agents.edge.agent.call_records import (
    RecordError,
    Verdict,
    call_id_of,
    document_of,
    path_of,
    verdict,
)

KEY = "call:7f3c/1@198.18.16.150;from-1;to-1"
FIELDS = {
    "tenant": "acme",
    "number": "+380441234567",
    "caller": "+380501112233",
    "agent": "1001",
    "queue": "sales",
    "started": "1764028800123",
    "answered": "1764028803000",
    "media": "1",
    "ended": "1764028863500",
    "endReason": "caller-hangup",
}


def test_a_call_that_a_landline_took_has_no_agent() -> None:
    fields = {name: value for name, value in FIELDS.items() if name != "agent"}
    document = document_of(KEY, {**fields, "landline": "+380447654321"})
    assert (document["agent"], document["landline"]) == (None, "+380447654321")


def test_a_call_becomes_the_apps_record() -> None:
    assert document_of(KEY, FIELDS) == {
        "direction": "in",
        "number": "+380441234567",
        "caller": "+380501112233",
        "agent": "1001",
        "landline": None,
        "queue": "sales",
        "startedAt": "2025-11-25T00:00:00.123+00:00",
        "answeredAt": "2025-11-25T00:00:03.000+00:00",
        "endedAt": "2025-11-25T00:01:03.500+00:00",
        "endReason": "caller-hangup",
        "callId": "7f3c/1@198.18.16.150",
        "note": None,
    }


def test_what_is_not_known_is_null() -> None:
    found = document_of(KEY, {**FIELDS, "agent": "", "queue": "", "answered": ""})
    assert (found["agent"], found["queue"], found["answeredAt"]) == (None, None, None)


@pytest.mark.parametrize("field", ["number", "caller", "started", "ended", "endReason"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(RecordError, match=f"{field}: missing"):
        document_of(KEY, {name: value for name, value in FIELDS.items() if name != field})


@pytest.mark.parametrize("value", ["yesterday", "1e9", "9" * 30])
def test_a_time_that_is_none_is_named(value: str) -> None:
    with pytest.raises(RecordError, match="ended"):
        document_of(KEY, {**FIELDS, "ended": value})


def test_the_key_travels_percent_encoded() -> None:
    assert path_of(KEY) == "/edge/v1/call-records/7f3c%2F1%40198.18.16.150%3Bfrom-1%3Bto-1"
    assert call_id_of(KEY) == "7f3c/1@198.18.16.150"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 201, 204, 409), Verdict.DELIVERED),
        ((400, 413, 422), Verdict.DEAD),
        ((401, 403, 404, 408, 429, 500, 502, 503, 504), Verdict.RETRY),
    ],
)
def test_only_what_can_never_be_taken_is_given_up(statuses: tuple[int, ...], expected: Any) -> None:
    assert {verdict(status) for status in statuses} == {expected}
