from __future__ import annotations

from typing import Any

import pytest

from okitoki_phones.judge import COMPLETED, DROPPED, FAILED, judge


def audio(**changes: Any) -> dict[str, Any]:
    into = {
        "received": 100, "highest": 99, "lost": 0, "duplicated": 0, "corrupted": 0, "foreign": 0, "longestMs": 21.0,
        "longestAt": 5.0, "gaps": [], **changes,
    }  # fmt: skip
    return {"out": {"sent": 100, "longestMs": 20.0}, "in": into}


def side(role: str, **changes: Any) -> dict[str, Any]:
    whole = {
        "role": role, "callId": "c", "calleeTag": "t", "tenant": "acme", "kind": "short", "number": "+380",
        "attemptedAt": 1.0, "establishedAt": 2.0, "endedAt": 9.0, "endedBy": "local" if role == "carrier" else "remote",
        "code": 200, "reason": "OK", "byeCode": 200 if role == "carrier" else None, "mediaAddress": "m", "notes": [],
        "audio": audio(),
    }  # fmt: skip
    return {**whole, **changes}


def test_a_good_call_is_completed() -> None:
    (verdict,) = judge([side("carrier"), side("agent")])
    assert (verdict.outcome, verdict.problems, verdict.two_way) == (COMPLETED, [], True)


def test_only_the_phone_that_the_caller_talked_to_counts() -> None:
    other = side("agent", calleeTag="u", audio=audio(received=0, longestMs=None))
    for records in ([side("agent"), other], [other, side("agent")]):
        (verdict,) = judge([side("carrier"), *records])
        assert verdict.outcome == COMPLETED


DROPS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"audio": audio(received=0, longestMs=None)}, "to_agent: no audio at all"),
    ({"audio": audio(longestMs=5001.0)}, {}, "to_caller: silent for 5001 ms"),
    ({"byeCode": None}, {}, "BYE not answered with 200: no answer"),
    ({"byeCode": 481}, {}, "BYE not answered with 200: 481"),
    ({"endedBy": "remote", "byeCode": None}, {}, "ended by neither side"),
    ({}, {"establishedAt": None}, "the agent's phone never saw the call established"),
]


@pytest.mark.parametrize(("caller", "callee", "reason"), DROPS)
def test_what_drops_an_established_call(caller: dict[str, Any], callee: dict[str, Any], reason: str) -> None:
    (verdict,) = judge([side("carrier", **caller), side("agent", **callee)])
    assert verdict.outcome == DROPPED
    assert reason in verdict.problems


def test_a_call_that_no_phone_knows_of_is_dropped() -> None:
    (verdict,) = judge([side("carrier")])
    assert verdict.outcome == DROPPED
    assert not verdict.two_way


def test_both_sides_hanging_up_at_once_is_no_drop() -> None:
    (verdict,) = judge([side("carrier", byeCode=481), side("agent", endedBy="local", byeCode=200)])
    assert verdict.outcome == COMPLETED


def test_altered_audio_is_completed_but_not_whole() -> None:
    (verdict,) = judge([side("carrier"), side("agent", audio=audio(corrupted=1))])
    assert (verdict.outcome, verdict.two_way) == (COMPLETED, False)


def test_a_call_that_was_never_established_has_failed() -> None:
    (verdict,) = judge([side("carrier", establishedAt=None, code=486, reason="Busy Here", calleeTag=None)])
    assert (verdict.outcome, verdict.reason) == (FAILED, "486 Busy Here")


def test_the_time_to_set_a_call_up_leaves_out_how_long_the_phone_rang() -> None:
    caller = side("carrier", attemptedAt=1.0, establishedAt=3.5)
    (verdict,) = judge([caller, side("agent", ringingAt=1.2, answeredAt=3.2)])
    assert verdict.set_up_seconds == pytest.approx(0.5)
    (verdict,) = judge([side("carrier", establishedAt=None, code=480, reason="No Agent")])
    assert verdict.set_up_seconds is None
