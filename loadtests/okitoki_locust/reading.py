"""What answers to reading requests mean. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from okitoki_load.attempts import Attempt, judge_refusal
from okitoki_load.checker import differs
from okitoki_load.ledger import FAIL, OK, Operation

# Begins what contradicts an acknowledgement or a promise of the API, as opposed to what merely failed.
WRONG = "wrong: "


def judge_record(status: int, body: Any, operation: Operation) -> Attempt:
    """One record that was acknowledged before it was asked for: it must be there, as it was sent."""
    if status == 404:
        return _wrong("an acknowledged record is not there")
    if status != 200:
        return _failed(status, body)
    if not isinstance(body, Mapping) or body.get("id") != operation.id or differs(operation, body):
        return _wrong("an acknowledged record says something else")
    return Attempt(OK, "200", again=False)


def judge_list(status: int, body: Any, number: str, since: datetime, limit: int) -> Attempt:
    """A page of records of one number from a time on: newest first, nothing else in it."""
    if status != 200:
        return _failed(status, body)
    items = body.get("items") if isinstance(body, Mapping) else None
    if not isinstance(items, Sequence):
        return _wrong("a list without items")
    times = [datetime.fromisoformat(str(item["startedAt"])) for item in items]
    if any(item["number"] != number for item in items):
        return _wrong("a list with records of another number")
    if any(time < since for time in times):
        return _wrong("a list with records from before its time")
    if any(newer < older for newer, older in pairwise(times)):
        return _wrong("a list that is not newest first")
    if len(items) > limit:
        return _wrong("a list longer than asked for")
    return Attempt(OK, "200", again=False)


def _wrong(what: str) -> Attempt:
    return Attempt(FAIL, WRONG + what, again=False)


def _failed(status: int, body: Any) -> Attempt:
    return judge_refusal(status, body) or Attempt(FAIL, str(status), again=True)
