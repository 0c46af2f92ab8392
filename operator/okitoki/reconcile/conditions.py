"""Status conditions: one value per aspect, merged into the status without churn. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from okitoki.kube.times import rfc3339

Status = Literal["True", "False", "Unknown"]

READY = "Ready"
STALLED = "Stalled"
APPLIED = "Applied"


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of a resource's state.

    `reason` is CamelCase and stable (people alert on it), `message` tells a person what is and, if something is wrong,
    how to mend it. `warning`: becoming so deserves a Warning event (a failure, not a step of progress).
    `abnormal`: a True status is the bad one (such as `Stalled`); it then has no part in `Ready`.
    `rest`: what it says is what `Ready` says when all is well (a resource that is asked not to serve).
    `optional`: tells whether something is there that the user may do without; it has no part in `Ready`.
    """

    type: str
    status: Status
    reason: str
    message: str
    warning: bool = False
    abnormal: bool = False
    rest: bool = False
    optional: bool = False


def good(kind: str, reason: str, message: str) -> Condition:
    """A condition that holds."""
    return Condition(kind, "True", reason, message)


def resting(kind: str, reason: str, message: str) -> Condition:
    """A condition that holds because the resource is asked not to serve: `Ready` says the same."""
    return Condition(kind, "True", reason, message, rest=True)


def progressing(kind: str, reason: str, message: str) -> Condition:
    """A condition that does not hold yet, and is on its way."""
    return Condition(kind, "False", reason, message)


def failing(kind: str, reason: str, message: str) -> Condition:
    """A condition that does not hold and needs somebody."""
    return Condition(kind, "False", reason, message, warning=True)


def unknown(kind: str, reason: str, message: str) -> Condition:
    """A condition nobody can tell at the moment."""
    return Condition(kind, "Unknown", reason, message)


def summary(conditions: Sequence[Condition]) -> Condition:
    """`Ready`: True when every condition is; else the failing one that a person must look at first.

    Order: a failure before progress, then the order of the list (builders put causes before effects).
    """
    bad = [c for c in conditions if c.status != "True" and not c.abnormal and not c.optional]
    if not bad:
        for condition in conditions:
            if condition.rest:
                return good(READY, condition.reason, condition.message)
        return good(READY, "Ready", "everything is in place and serves")
    first = next((c for c in bad if c.warning), bad[0])
    return Condition(READY, "False", first.reason, f"{first.type}: {first.message}")


def merge(
    old: Iterable[Mapping[str, Any]], new: Iterable[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The status's `conditions`: `lastTransitionTime` is kept while the status is the same."""
    before = {item.get("type"): item for item in old}
    merged = []
    for condition in new:
        previous = before.get(condition.type, {})
        same = previous.get("status") == condition.status and previous.get("lastTransitionTime")
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": generation,
                "lastTransitionTime": previous["lastTransitionTime"] if same else rfc3339(now),
            }
        )
    return merged


def news(old: Iterable[Mapping[str, Any]], new: Iterable[Condition]) -> list[Condition]:
    """Conditions whose change is an event: a new failure (status or reason changed), or `Ready` changing sides or being
    so for another reason (served, suspended, asleep)."""
    before = {item.get("type"): (item.get("status"), item.get("reason")) for item in old}
    told = []
    for condition in new:
        status, reason = before.get(condition.type, (None, None))
        if condition.type == READY:
            other = condition.status != status or (condition.status == "True" and condition.reason != reason)
            if other and not (status is None and condition.status == "False"):
                told.append(condition)
        elif condition.warning and (condition.status, condition.reason) != (status, reason):
            told.append(condition)
    return told
