"""Whether a store kept its promises: the set check of a ledger against what is stored afterwards. Pure.

lost = acknowledged − stored, phantom = stored − attempted (and what the store had certainly refused). The model is
Jepsen's set checker. What it shows is exactly: none observed in these operations; tests show errors, not their absence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from okitoki_load.ledger import FAIL, OK, UNKNOWN, Operation

VALID, INVALID, UNDECIDED = "valid", "invalid", "undecided"


# What is wrong with writes, by the verdict's field that lists them.
WRONG = {
    "lost": "acknowledged writes were lost",
    "phantom": "records are stored that were never written or were refused",
    "duplicates": "writes were stored twice",
    "altered": "records were altered",
    "inversions": "records are listed out of order",
    "out_of_order": "writes were stored before one that was acknowledged before they began",
}


@dataclass(frozen=True)
class Verdict:
    """What the check found; ids are those of the operations."""

    state: str
    attempted: int
    acknowledged: int
    failed: int
    unknown: int
    unknown_stored: int
    stored: int
    lost: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    inversions: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    order_checked: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check(operations: Sequence[Operation], stored: Sequence[Mapping[str, Any]]) -> Verdict:
    """Compare a run's operations with the run's stored records, as read after healing, newest first.

    A record is JSON as the API returns it: `id` is the idempotency key, `note` the writer's own reference, `recordedAt`
    when the server first stored it. `inversions` are records in a wrong place of the list, `out_of_order` those that
    were stored before one that their writer had acknowledged before it began them; `order_checked` says for how many
    operations that could be told.
    """
    attempted = {operation.id: operation for operation in operations}
    count = Counter(str(record["id"]) for record in stored)
    by_outcome = Counter(operation.outcome for operation in operations)
    lost = [op.id for op in operations if op.outcome == OK and op.id not in count]
    phantom = [key for key in count if key not in attempted or attempted[key].outcome == FAIL]
    duplicates = sorted({key for key, times in count.items() if times > 1} | _twice_by_note(stored))
    altered = _altered(attempted, stored)
    inversions = _inversions(stored)
    out_of_order, order_checked = _out_of_order(operations, stored)
    bad = bool(lost or phantom or duplicates or altered or inversions or out_of_order)
    state = INVALID if bad else VALID if by_outcome[OK] else UNDECIDED
    return Verdict(
        state=state,
        attempted=len(attempted),
        acknowledged=by_outcome[OK],
        failed=by_outcome[FAIL],
        unknown=by_outcome[UNKNOWN],
        unknown_stored=sum(1 for op in operations if op.outcome == UNKNOWN and op.id in count),
        stored=len(stored),
        lost=lost,
        phantom=phantom,
        duplicates=duplicates,
        altered=altered,
        inversions=inversions,
        out_of_order=out_of_order,
        order_checked=order_checked,
    )


def of_run(records: Iterable[Mapping[str, Any]], run: str) -> list[Mapping[str, Any]]:
    """The records that a run's writers wrote, told by their note."""
    return [record for record in records if str(record.get("note") or "").startswith(f"{run}/")]


def _twice_by_note(stored: Sequence[Mapping[str, Any]]) -> set[str]:
    """The same operation under two ids: a server that forgot the idempotency key."""
    ids: dict[str, set[str]] = {}
    for record in stored:
        if record.get("note"):
            ids.setdefault(str(record["note"]), set()).add(str(record["id"]))
    return {key for keys in ids.values() if len(keys) > 1 for key in keys}


def _altered(attempted: Mapping[str, Operation], stored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Records that don't say what was sent; times are compared as times, since a server may write them otherwise."""
    found = []
    for record in stored:
        operation = attempted.get(str(record["id"]))
        if operation is None:
            continue
        if differs(operation, record):
            found.append(operation.id)
    return found


def differs(operation: Operation, record: Mapping[str, Any]) -> bool:
    """Whether a stored record says something else than was sent."""
    return any(not _same(record.get(name), value) for name, value in operation.body.items())


def _same(stored: Any, sent: Any) -> bool:
    if stored == sent:
        return True
    try:
        return datetime.fromisoformat(str(stored)) == datetime.fromisoformat(str(sent))
    except (TypeError, ValueError):
        return False


def _inversions(stored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Records that stand in the list before a newer one, though it promises the newest first."""
    found = []
    for newer, older in pairwise(stored):
        if datetime.fromisoformat(str(newer["startedAt"])) < datetime.fromisoformat(str(older["startedAt"])):
            found.append(str(newer["id"]))
    return found


def _out_of_order(operations: Sequence[Operation], stored: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """Operations stored before an earlier one of their writer, and how many could be checked.

    An operation may begin only after its intended start, so one that ended before that start is certainly the earlier.
    Operations that overlap have no order.
    """
    recorded = {
        str(record["id"]): datetime.fromisoformat(str(record["recordedAt"]))
        for record in stored
        if record.get("recordedAt")
    }
    writers: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.id in recorded:
            writers.setdefault(operation.writer, []).append(operation)
    found, checked = [], 0
    for mine in writers.values():
        acknowledged = [(op.finished, recorded[op.id]) for op in mine if op.outcome == OK and op.finished is not None]
        acknowledged.sort(key=lambda pair: pair[0], reverse=True)
        latest: datetime | None = None
        for operation in sorted(mine, key=lambda op: op.due):
            while acknowledged and acknowledged[-1][0] < operation.due:
                _, time = acknowledged.pop()
                latest = time if latest is None else max(latest, time)
            if latest is None:
                continue
            checked += 1
            if recorded[operation.id] < latest:
                found.append(operation.id)
    return found, checked
